"""A field of a config with all that is known of it in one place: what it does, and which values it may have."""

import math
from collections.abc import Callable
from dataclasses import field, fields
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

Range = tuple[Callable[[Any], bool], str]


def at_least(least: float) -> Range:
    """Return the range of numbers from `least` on, and that in words.

    Args:
        least: The smallest.
    """
    return lambda value: value >= least, f"{least} or more"


ABOVE_0: Range = (lambda value: value > 0, "above 0")
PROBABILITY: Range = (lambda value: 0 <= value <= 1, "from 0 to 1")
SHARE: Range = (lambda value: 0 < value < 1, "between 0 and 1")


def knob(default: Any, help: str, may_be: Range | None = None) -> Any:
    """Return a field of a dataclass.

    Args:
        default: Its default.
        help: What it does; shown on command lines and in the reference.
        may_be: Tells whether a value is in range, and what the range is in words. Type and choices follow from the
            annotation.
    """
    return field(default=default, metadata={"help": help, "may_be": may_be})


def check_knobs(config: Any) -> None:
    """Refuse a value of another type than the annotation, one that is no choice, and one out of range.

    Args:
        config: A dataclass, of whose fields those made by `knob` are checked.

    Raises:
        ValueError: Naming the field, what it may be, and its value.
    """
    hints = get_type_hints(type(config))
    for each in fields(config):
        if "may_be" not in each.metadata:
            continue
        value, hint, may_be = getattr(config, each.name), hints[each.name], each.metadata["may_be"]
        kinds = {hint} if get_origin(hint) is Literal else set(get_args(hint) or (hint,))
        if value is None and type(None) in kinds:
            continue
        words = _wanted(value, kinds)
        if words is None and may_be is not None and not may_be[0](value):
            words = may_be[1]
        if words is not None:
            beside = " or None" if type(None) in kinds else ""
            raise ValueError(f"{each.name} must be {words}{beside}, got {value!r}; the default is {each.default!r}.")


def _wanted(value: Any, kinds: set[Any]) -> str | None:
    """Say what a value should be, if it is something else."""
    kind = next(iter(kinds - {type(None)}))
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return None if value in choices else f"one of {', '.join(choices)}"
    if kind is bool:
        return None if isinstance(value, bool) else "true or false"
    if kind is int:
        return None if isinstance(value, Integral) and not isinstance(value, bool) else "a whole number"
    if kind is float:
        good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        return None if good else "a finite number"
    return None


def documented(config: type) -> type:
    """Add the fields made by `knob` to a class's docstring, so that they are told in one place only.

    Args:
        config: A dataclass.
    """
    told = "".join(
        f"\n        {each.name}: {each.metadata['help']}" for each in fields(config) if "may_be" in each.metadata
    )
    config.__doc__ = f"{(config.__doc__ or '').rstrip()}\n\n    Args:{told}\n    "
    return config
