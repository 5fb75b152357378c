"""A reward model's body from a language model: one number instead of the next token, and words that it lacks."""

from collections.abc import Iterable
from typing import Any

from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase


def with_value_head(model: Any) -> PreTrainedModel:
    """Build a sequence classifier of one output with the weights of a language model; its head is new.

    Args:
        model: A causal language model.

    Raises:
        ValueError: If it has adapters, or transformers has no classifier of its kind.
    """
    if not isinstance(model, PreTrainedModel):
        raise ValueError(
            f"model must be a whole model for a value head, got a {type(model).__name__}; set model.lora=null, and "
            "merge adapters first."
        )
    config = type(model.config).from_dict(model.config.to_dict(), num_labels=1)
    try:
        classifier = AutoModelForSequenceClassification.from_config(config, dtype=model.dtype)
    except ValueError as error:
        raise ValueError(
            f"model must be of a kind that transformers has a classifier for, got {config.model_type}; take another."
        ) from error
    classifier.base_model.load_state_dict(model.base_model.state_dict())
    return classifier


def add_words(model: Any, tokenizer: PreTrainedTokenizerBase, words: Iterable[str]) -> None:
    """Give a tokenizer of whole words those that it lacks, and the model new embeddings for them.

    Args:
        model: Its language model, changed in place.
        tokenizer: Changed in place.
        words: Without white space. Those that it knows stay as they are.
    """
    vocabulary = tokenizer.get_vocab()
    if tokenizer.add_tokens([word for word in words if word not in vocabulary]):
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
