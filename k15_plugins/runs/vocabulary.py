"""A model for the problems of a run: refused, before its weights are read, if it does not have their words."""

from typing import Any

from datasets import Dataset

from k15_plugins import models
from k15_plugins.models.unknown_tokens import unreadable_prompts
from k15_plugins.runs.build import build


def build_model(node: dict[str, Any], *problems: Dataset) -> models.Loaded:
    """Load a model with its tokenizer, the tokenizer first.

    Args:
        node: Of the `model` group.
        *problems: What the model is to answer.

    Raises:
        ValueError: As `check_vocabulary`, or if the node's function returns something else.
    """
    first = models.tokenizer_of(node)
    if first is not None:
        check_vocabulary(first, *problems)
    loaded = build(node)
    if not isinstance(loaded, tuple) or len(loaded) != 2:
        raise ValueError(
            f"model._target_={node['_target_']} must return a model and its tokenizer, got a {type(loaded).__name__}; "
            "let it return both."
        )
    model, tokenizer = loaded
    if first is None:
        check_vocabulary(tokenizer, *problems)
    return model, tokenizer


def check_vocabulary(tokenizer: Any, *problems: Dataset) -> None:
    """Refuse problems that a tokenizer cannot read.

    Args:
        tokenizer: Of the model.
        *problems: What the model is to answer.

    Raises:
        ValueError: If more than 1 % of the tokens of the prompts of one of them are unknown to it.
    """
    for data in problems:
        found = unreadable_prompts(data, tokenizer)
        if found:
            raise ValueError(
                f"the prompts of task {found}; take another model, such as model=smollm2 or model=hub model.name=... "
                "(the embedded one knows sums of one-digit numbers only), or another task."
            )
