"""Scores a mathematical answer with math-verify; imported by the verifier's process only."""

from functools import lru_cache

from math_verify import parse, verify
from sympy import Basic, Eq, Mul, Pow


@lru_cache(maxsize=4096)  # the responses of a group often agree
def score(answer: str, gold: str) -> float:
    r"""Compare two answers as mathematics.

    Both are read as the content of a `\boxed{}`, so the whole text is the answer and not whatever in it fits. Where
    the right answer is a number, the answer must be written as a number too: otherwise repeating the sum that was
    asked for would be a right answer to it.

    Args:
        answer (`str`): The final answer of a response, plain or LaTeX.
        gold (`str`): The right answer, plain or LaTeX.

    Returns:
        `float`: 1.0 if they are equal, else 0.0.

    Raises:
        ValueError: If the right answer cannot be read.
    """
    right = _parse(gold)
    if not right:
        raise ValueError(f"the right answer {gold!r} cannot be read as mathematics")
    given = _parse(answer)
    if isinstance(right[0], Basic) and right[0].is_Number and given and not _is_written_number(given[0]):
        return 0.0
    return float(verify(right, given, timeout_seconds=None, raise_on_error=True))


def _parse(text: str) -> list[Basic | str]:
    return parse(rf"\boxed{{{text}}}", parsing_timeout=None)


def _is_written_number(value: Basic | str) -> bool:
    """Whether it is a number, as in x = 3/4 or 1.5*10^3, and not a calculation that has one as its result."""
    if isinstance(value, Eq):
        value = value.rhs
    if isinstance(value, Mul):
        factor, *rest = value.args
        return factor.is_Number and len(rest) == 1 and _is_power_of_ten(rest[0])
    return isinstance(value, str) or bool(value.is_Number) or _is_power_of_ten(value)


def _is_power_of_ten(value: Basic) -> bool:
    return isinstance(value, Pow) and value.base == 10 and value.exp.is_Integer
