"""A field of a config with all that is known of it in one place: what it does, and which values it may have."""

from collections.abc import Callable
from dataclasses import field, fields
from typing import Any

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
            annotation; `check_values` refuses what does not fit.
    """
    return field(default=default, metadata={"help": help, "may_be": may_be})


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
