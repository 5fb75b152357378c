"""Arguments that should be numbers: what is none is refused in a sentence, before it is compared with one."""

from numbers import Integral, Real
from typing import Any


def check_numbers(**values: Any) -> None:
    """Refuse what is no number.

    Args:
        **values: Arguments, by name.

    Raises:
        ValueError: Naming the argument and its value.
    """
    _check(values, Real, "a number")


def check_whole_numbers(**values: Any) -> None:
    """Refuse what is no whole number.

    Args:
        **values: Arguments, by name.

    Raises:
        ValueError: Naming the argument and its value.
    """
    _check(values, Integral, "a whole number")


def _check(values: dict[str, Any], kind: type, words: str) -> None:
    for name, value in values.items():
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} must be {words}, got {value!r:.100}; give one.")
