"""The text form of a reasoning-gym entry: JSON that keeps tuples, fractions and dictionary keys as they were.

Plain JSON turns tuples into lists and number keys into strings, and some scorers (the ARC tasks) then take a right
answer for a wrong one; it has no fractions, which gsm_symbolic gives. Only the standard library is used, because the
verifier's process reads entries too.
"""

import json
from fractions import Fraction
from typing import Any

_TUPLE, _DICT, _FRACTION = "__tuple__", "__items__", "__fraction__"


def dump_entry(entry: dict[str, Any]) -> str:
    """Write an entry as JSON text.

    Args:
        entry: Values are None, bool, int, float, str, Fraction, list, tuple or dict, in any nesting.

    Returns:
        What `load_entry` turns into an equal entry.

    Raises:
        TypeError: If a value is of another type.
    """
    return json.dumps(_tag(entry), ensure_ascii=False)


def load_entry(text: str) -> dict[str, Any]:
    """Read an entry written by `dump_entry`.

    Args:
        text: JSON text.

    Returns:
        The entry, its tuples and keys included.
    """
    return json.loads(text, object_hook=_untag)


def _tag(value: Any) -> Any:
    if isinstance(value, tuple):
        return {_TUPLE: [_tag(item) for item in value]}
    if isinstance(value, list):
        return [_tag(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _tag(item) for key, item in value.items()}
        return {_DICT: [[_tag(key), _tag(item)] for key, item in value.items()]}
    if isinstance(value, Fraction):
        return {_FRACTION: [value.numerator, value.denominator]}
    return value


def _untag(value: dict[str, Any]) -> Any:
    if value.keys() == {_TUPLE}:
        return tuple(value[_TUPLE])
    if value.keys() == {_DICT}:
        return {key: item for key, item in value[_DICT]}  # noqa: C416
    if value.keys() == {_FRACTION}:
        return Fraction(*value[_FRACTION])
    return value
