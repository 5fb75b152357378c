"""A model that reads longer texts: its weights with another base of the rotary embeddings (paper 2.5.1)."""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel


def load_longer(folder: str | Path, length: int, rope_theta: float | None, **kwargs: Any) -> PreTrainedModel:
    """Load a model for texts of another length.

    The base cannot be changed on a model that is loaded: transformers takes the new value and goes on with the old
    frequencies, silently.

    Args:
        folder: Of the model.
        length: Longest text, tokens; a model that can read longer ones keeps its own.
        rope_theta: Base of the rotary embeddings; None for that of the model.
        **kwargs: For `from_pretrained`.

    Raises:
        ValueError: If the model has no rotary embeddings with one base.
    """
    config: Any = AutoConfig.from_pretrained(folder)
    given = {**kwargs}
    if length > (getattr(config, "max_position_embeddings", None) or length):
        given["max_position_embeddings"] = length
    if rope_theta is not None:
        before = getattr(config, "rope_parameters", None)
        if not isinstance(before, dict) or "rope_theta" not in before:
            raise ValueError(
                f"rope_theta={rope_theta} must belong to a model with rotary embeddings of one base, got "
                f"{type(config).__name__} in {folder}; set rope_theta=null."
            )
        given["rope_parameters"] = {**before, "rope_theta": rope_theta}
    return AutoModelForCausalLM.from_pretrained(folder, **given)
