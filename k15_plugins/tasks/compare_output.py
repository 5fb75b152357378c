"""Whether a program's output is the expected one. Runs outside the sandbox; what is compared is untrusted."""

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

_FLOAT = re.compile(rb"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TOLERANCE = 1e-6


def exact(given: bytes, expected: bytes) -> bool:
    """Compare letter by letter; white space at the end of a line and empty lines at the end do not count.

    Args:
        given: What the program wrote.
        expected: The right output.
    """
    return _lines(given) == _lines(expected)


def tokens(given: bytes, expected: bytes) -> bool:
    """Compare what stands between white space.

    Args:
        given: What the program wrote.
        expected: The right output.
    """
    return given.split() == expected.split()


def floats(given: bytes, expected: bytes) -> bool:
    """Compare tokens; one that is expected as a float may differ by 1e-6, absolutely or relatively.

    Whole numbers must be equal: what is expected as `3` is not answered by `3.0000001`.

    Args:
        given: What the program wrote.
        expected: The right output.
    """
    given_tokens, expected_tokens = given.split(), expected.split()
    return len(given_tokens) == len(expected_tokens) and all(map(_near, given_tokens, expected_tokens))


def lines(given: bytes, expected: bytes) -> bool:
    """Compare as LiveCodeBench does: line by line without outer white space, as text or as decimal numbers.

    Args:
        given: What the program wrote.
        expected: The right output.
    """
    pairs = [[line.strip() for line in text.strip().split(b"\n")] for text in (given, expected)]
    return len(pairs[0]) == len(pairs[1]) and all(map(_equal_or_decimals, *pairs))


def value(given: bytes, expected: bytes) -> bool:
    """Compare values as Python does once they are read from JSON: what a function returned; 1 equals true.

    Args:
        given: What it returned, as JSON.
        expected: The right value, as JSON.
    """
    if len(given) > 16 * len(expected) + 4096:  # to read it takes hundreds of times its size
        return False
    try:
        return json.loads(given) == json.loads(expected)
    except (ValueError, RecursionError):
        return False


COMPARISONS: dict[str, Callable[[bytes, bytes], bool]] = {
    "exact": exact,
    "tokens": tokens,
    "floats": floats,
    "lines": lines,
    "value": value,
}
"""By the names that problems call them."""


def _lines(text: bytes) -> list[bytes]:
    return [line.rstrip() for line in text.rstrip().split(b"\n")]


def _near(given: bytes, expected: bytes) -> bool:
    if given == expected:
        return True
    if not _FLOAT.fullmatch(expected) or not _NUMBER.fullmatch(given):
        return False
    difference = abs(float(given) - float(expected))
    return difference <= _TOLERANCE * max(1.0, abs(float(expected)))


def _equal_or_decimals(given: bytes, expected: bytes) -> bool:
    if given == expected:
        return True
    if b"_" in given:  # which Python takes for a part of a number
        return False
    try:
        return [Decimal(each.decode()) for each in given.split()] == [
            Decimal(each.decode()) for each in expected.split()
        ]
    except (InvalidOperation, UnicodeDecodeError):
        return False
