"""Of which kind each argument of a trainer must be, where TRL and transformers would fail over another much later."""

from collections.abc import Callable
from typing import Any

from datasets import Dataset, IterableDataset
from transformers import PreTrainedTokenizerBase, ProcessorMixin, TrainerCallback


def _is_data(value: Any) -> bool:
    return isinstance(value, Dataset | IterableDataset)


def _is_callback(value: Any) -> bool:
    return isinstance(value, TrainerCallback) or (isinstance(value, type) and issubclass(value, TrainerCallback))


def _is_adapter(value: Any) -> bool:
    return hasattr(value, "peft_type") and not isinstance(value, type)


_KINDS: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "processing_class": (
        lambda value: isinstance(value, PreTrainedTokenizerBase | ProcessorMixin),
        "a tokenizer or a processor",
        "give AutoTokenizer.from_pretrained(...)",
    ),
    "callbacks": (
        lambda value: isinstance(value, list) and all(map(_is_callback, value)),
        "a list of objects of TrainerCallback",
        "give [MyCallback()], say",
    ),
    "peft_config": (_is_adapter, "a peft.PeftConfig", "give peft.LoraConfig(r=8), say"),
    "eval_dataset": (
        lambda value: all(map(_is_data, value.values())) if isinstance(value, dict) else _is_data(value),
        "a Dataset or a dict of them",
        "make one, as by Dataset.from_list(rows)",
    ),
}
"""What an argument may be, that in words, and the cure."""


def check_kinds(given: dict[str, Any]) -> None:
    """Refuse an argument of another kind than it must be.

    Args:
        given: Arguments of a trainer of TRL's, by name.

    Raises:
        ValueError: Naming the argument, its value and what it must be.
    """
    for name, (fits, words, cure) in _KINDS.items():
        value = given.get(name)
        if value is not None and not fits(value):
            raise ValueError(f"{name} must be {words}, got {value!r:.100}; {cure}.")
