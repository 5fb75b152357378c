"""Whether a value of a config is of the type that a parameter says, and that type in words."""

import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
}
_PLAIN = (bool, int, float, str, Path, type(None), list, tuple, Sequence, Literal)


def fits(value: Any, hint: Any) -> bool:
    """Tell whether a plain value can be what a type says; a node with `_target_` can be any object.

    Args:
        value: Plain dicts, lists and values.
        hint: The annotation of a parameter.
    """
    if isinstance(value, dict) and "_target_" in value:
        return any((get_origin(kind) or kind) not in _PLAIN and not is_choice(kind) for kind in kinds(hint))
    choices = _choices(hint)
    if choices is not None:
        return value in choices or (value is None and type(None) in get_args(hint))
    return any(_fits_one(value, kind) for kind in kinds(hint))


def _fits_one(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if _is_union(kind) or get_origin(kind) is Literal:
        return fits(value, kind)
    if kind is bool:
        return isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is Path:
        return isinstance(value, str)
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if not isinstance(origin, type):
        return True
    if issubclass(origin, str):
        return isinstance(value, str)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and (not inner or all(fits(each, inner[1]) for each in value.values()))
    if origin in (list, tuple, Sequence):
        inner = inner[:1]
        return isinstance(value, list) and (not inner or all(fits(each, inner[0]) for each in value))
    # An object of another class is made by a node.
    return origin is object or (value is None and origin is type(None))


def in_words(hint: Any) -> str:
    """Say what a parameter takes.

    Args:
        hint: Its annotation.
    """
    choices = _choices(hint)
    if choices is not None:
        words = [f"one of {', '.join(map(str, choices))}"]
        return " or ".join(words + ["null"] * (type(None) in get_args(hint)))
    # null last, as in "a number or null".
    return " or ".join(_word(kind) for kind in sorted(kinds(hint), key=lambda kind: kind is type(None)))


def _word(kind: Any) -> str:
    if _is_union(kind) or get_origin(kind) is Literal:
        return in_words(kind)
    if kind in _WORDS:
        return _WORDS[kind]
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin in (dict, Mapping):
        return "keys and values"
    if origin in (list, tuple, Sequence):
        return f"a list, each of it {in_words(inner[0])}" if inner else "a list"
    if origin is Callable:
        return "a function"
    return f"a {getattr(origin, '__name__', origin)}, made by a _target_"


def kinds(hint: Any) -> tuple[Any, ...]:
    """Return the types that an annotation allows.

    Args:
        hint: The annotation.
    """
    return get_args(hint) if _is_union(hint) else (hint,)


def is_choice(kind: Any) -> bool:
    """Tell whether a type is an enumeration, of whose values one is chosen.

    Args:
        kind: The type.
    """
    return isinstance(kind, type) and issubclass(kind, Enum)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _choices(hint: Any) -> list[Any] | None:
    """Return what may be chosen among; an enumeration beside `str` means its values."""
    if any(get_origin(kind) is list for kind in kinds(hint)):
        return None
    for kind in kinds(hint):
        if get_origin(kind) is Literal:
            rest = [other for other in kinds(hint) if other is not kind and other is not type(None)]
            return None if rest else list(get_args(kind))
        if is_choice(kind):
            return [member.value for member in kind]
    return None
