"""The model, its tokenizer and the output folder that a trainer is given, checked before a model is loaded."""

import os
from pathlib import Path
from typing import Any

from torch.nn import Module


def check_model(given: dict[str, Any]) -> None:
    """Refuse a model that cannot be trained, or that lacks the name by which something would be loaded.

    Args:
        given: Arguments of `GRPOTrainer`, by name, with `model`.

    Raises:
        ValueError: Naming the argument, what is wrong with it, and the cure.
    """
    model: Any = given.get("model")
    args: Any = given.get("args")
    check_model_name(model)
    if isinstance(model, str):
        return
    if args is not None and args.model_init_kwargs:
        raise ValueError(
            f"model_init_kwargs={args.model_init_kwargs} has no effect on a model that is loaded already; leave it "
            "out, or give the name of the model."
        )
    if model.name_or_path:
        return
    from accelerate.utils import is_peft_model

    is_adapted = given.get("peft_config") is not None or is_peft_model(model)
    if args is not None and args.beta != 0.0 and not is_adapted:
        raise ValueError(
            f"beta={args.beta} loads the starting policy by the name of the model, and this one, built in memory, has "
            "none; save it with save_pretrained and give the folder, or set beta=0."
        )
    check_processing_class(model, given.get("processing_class"))


def check_model_name(model: Any) -> None:
    """Refuse a path that leads nowhere; it would be looked for on the Hub, again and again.

    Args:
        model: As a trainer takes it: a name, a path, or a model.

    Raises:
        ValueError: If it is a path and there is no such folder, or no text.
    """
    if isinstance(model, Path):
        raise ValueError(f"model must be a text or a model, got the path {model}; give str(model).")
    if not isinstance(model, str | Module):
        raise ValueError(
            f"model must be a model, or the name or folder of one, got {model!r:.100}; give one of these."
        )
    if not isinstance(model, str):
        return
    is_path = model.startswith(("/", "./", "../", "~")) or model.count("/") > 1
    if is_path and not Path(model).is_dir():
        raise ValueError(
            f"model={model} must be a name on the Hub or a folder, and there is no such folder; correct it."
        )


def check_processing_class(model: Any, processing_class: Any) -> None:
    """Refuse a missing tokenizer of a model without a name, by which it would be loaded.

    Args:
        model: As a trainer takes it: a name, a path, or a model.
        processing_class: Tokenizer or processor, or None.

    Raises:
        ValueError: If there is none.
    """
    if processing_class is None and not isinstance(model, str) and not model.name_or_path:
        raise ValueError(
            "processing_class is loaded by the name of the model, and this one, built in memory, has none; give the "
            "tokenizer as processing_class."
        )


def check_output_dir(output_dir: str | None) -> None:
    """Refuse an output folder that cannot be written to.

    Args:
        output_dir: The folder, which need not be there yet.

    Raises:
        ValueError: If it is a file, or may not be written to.
    """
    if output_dir is None:
        return
    place = Path(output_dir).absolute()
    nearest = next(each for each in (place, *place.parents) if each.exists())
    if not nearest.is_dir():
        raise ValueError(f"output_dir={output_dir} must be a folder, but {nearest} is a file; take another name.")
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"output_dir={output_dir} must be writable, but {nearest} is not; take another folder.")
