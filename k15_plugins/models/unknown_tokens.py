"""Prompts in words that a model's tokenizer does not have: the model sees none of them, and cannot learn to answer."""

import warnings
from typing import Any

from datasets import Dataset
from trl.data_utils import is_conversational, maybe_apply_chat_template

from k15_plugins.tasks.problems import prompts_of

SAMPLE_PROMPTS = 256
MOST_UNKNOWN = 0.01


def unreadable_prompts(data: Any, tokenizer: Any) -> str | None:
    """Tell of prompts that lose more than 1 % of their tokens in a tokenizer.

    Args:
        data: Data set with the column `prompt`; up to 256 of its rows are looked at, spread over all. One without a
            length, and messages for a tokenizer without a chat template, are not looked at.
        tokenizer: Of the model.

    Returns:
        What is wrong with the prompts, to stand between these words and a cure; None if nothing is.
    """
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is None or not isinstance(data, Dataset) or not len(data):
        return None
    if is_conversational({"prompt": data[0]["prompt"]}) and tokenizer.chat_template is None:
        return None
    rows = prompts_of(data).select(range(0, len(data), -(-len(data) // SAMPLE_PROMPTS)))
    texts = [maybe_apply_chat_template({"prompt": row["prompt"]}, tokenizer)["prompt"] for row in rows]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    # Where it is the end-of-sequence token too, a chat template writes it on purpose.
    pairs = list(zip(ids, texts, strict=True))
    lost = [max(0, row.count(unknown) - text.count(tokenizer.unk_token)) for row, text in pairs]
    share = sum(lost) / max(1, sum(len(row) for row in ids))
    if share <= MOST_UNKNOWN:
        return None
    first = next(text for text, number in zip(texts, lost, strict=True) if number)
    return (
        f"must be known to the model's tokenizer, got {100 * share:.0f} % of their tokens as {tokenizer.unk_token} "
        f"(at most {100 * MOST_UNKNOWN:.0f} % may be), as in {first[:60]!r}"
    )


def warn_of_unreadable_prompts(trainer: Any) -> None:
    """Warn if the model of a trainer cannot read the prompts that it is given.

    Args:
        trainer: A `GRPOTrainer`.
    """
    evaluated = trainer.eval_dataset if isinstance(trainer.eval_dataset, dict) else {None: trainer.eval_dataset}
    for data in (trainer.train_dataset, *evaluated.values()):
        found = unreadable_prompts(data, trainer.processing_class)
        if found:
            warnings.warn(f"the prompts of the data set {found}; take another model, or other problems.", stacklevel=3)
