r"""Scores a mathematical answer with math-verify; imported by the verifier's process only.

math-verify reads an answer kindly: of `6 \text{ or 5}` it reads 6, of `5=6` the last number. What lists alternatives,
or says two different things, is refused here before it is asked.
"""

import re
from functools import lru_cache

from latex2sympy2_extended import is_expr_of_only_symbols
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, MatrixBase
from sympy.core.function import AppliedUndef

from k15_plugins.rewards.written_numbers import WrittenNumber, read_number

_LONGEST_CHARACTERS = 1000
_BOX = [LatexExtractionConfig()]  # the whole box or nothing: its default also takes a number that stands in the box
_PACKED_WORDS = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mbox)\s*\{([^{}]*(?:\d|\b(?:or|and)\b)[^{}]*)\}"
)
_SPACE = re.compile(r"(?<!\\)\\[ ,;:]|~|\\(?:q?quad|enspace|thinspace)(?![a-zA-Z])|\s+")
_TWO_NUMBERS = re.compile(r"(?<!frac)(?<!frac )(?<![\d._^])\d[\d.]* +\d")
_CALCULATION = re.compile(
    r"\\(?:[io]*int|sum|prod|lim|det|gcd|lcm|max|min|[dt]?binom|lfloor|lceil|[bp]?mod)(?![a-zA-Z])|!"
    r"|frac\s*\{\s*(?:d|\\partial)\s*\}"
)
_CHOICE = re.compile(r"(?:\\(?:text|textbf|mathrm|mathbf)\s*\{)?\s*\(?([A-J])\)?[.:]?\s*\}?", re.IGNORECASE)


def score(answer: str, gold: str, strict: bool = True, whole_response: bool = False) -> float:
    r"""Compare two answers as mathematics.

    Args:
        answer: The final answer of a response, plain or LaTeX.
        gold: The right answer, plain or LaTeX.
        strict: For training. Where the right answer is a number, the answer must be written as a number, a
            fraction in lowest terms; and it may not leave a sum, an integral or the like to do that the right answer
            does not have. Otherwise repeating the question would be a right answer to it.
        whole_response: The answer is a whole response, in which math-verify looks for the answer by its own
            rules, as in published scores.

    Returns:
        1.0 if they are equal, else 0.0; an answer of more than 1,000 characters is wrong.

    Raises:
        ValueError: If the right answer cannot be read.
    """
    if whole_response:
        return float(_equal(parse(f"${gold}$", parsing_timeout=None), parse(answer, parsing_timeout=None)))
    if len(answer) > _LONGEST_CHARACTERS:
        return 0.0
    right, given = _tidy(_inside(gold)), _without_approximation(_tidy(_inside(answer)))
    if not right:
        raise ValueError(f"the right answer {gold!r} cannot be read as mathematics")
    if given is None:
        return 0.0
    if letter := _letter(right):
        return float(_letter(given) == letter)
    right_number, given_number = _number(right), _number(given)
    if right_number is not None and given_number is not None:
        is_right = given_number.equals(right_number) and (given_number.is_lowest or not strict)
        return float(is_right and _is_consistent(given, right))
    if strict and (right_number is not None or not _calculations(given) <= _calculations(right)):
        return 0.0
    if _TWO_NUMBERS.search(given) or not _is_consistent(given, right):
        return 0.0
    return float(_equal(_read(right), _read(given)))


def _inside(text: str) -> str:
    r"""Take off a `\boxed{}` or dollar signs around the whole."""
    text = text.strip()
    while text.startswith(r"\boxed{") and text.endswith("}"):
        text = text[len(r"\boxed{") : -1].strip()
    return text


def _tidy(text: str) -> str:
    """Write alike what is written in several ways, and bring words that hold an answer out of their LaTeX."""
    text = text.replace(r"\$", "").replace("$", "").replace(r"\!", "").replace("{,}", ",")
    text = text.replace(r"\displaystyle", "").replace(r"\left", "").replace(r"\right", "")
    text = _PACKED_WORDS.sub(r" \1 ", text)
    text = text.replace(r"\varnothing", r"\emptyset").replace("°", r"^\circ")
    text = _SPACE.sub(" ", text)
    text = re.sub(r",? ?(?:\\(?:lor|vee)(?![a-zA-Z])|(?<![\\a-zA-Z])(?:or|and)(?![a-zA-Z]))", ",", text)
    text = re.sub(r"(?:\s|\\?%|(?<!\\)[.,;])+$", "", text)
    while text.startswith("{") and _closing(text, 0) == len(text) - 1:
        text = text[1:-1]
    text = text.strip()
    if text.startswith("(") and text.endswith(")") and read_number(text[1:-1]) is not None:
        text = text[1:-1]
    return text.strip()


def _closing(text: str, start: int) -> int:
    depth = 0
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return -1


def _letter(text: str) -> str:
    match = _CHOICE.fullmatch(text)
    return match[1].upper() if match else ""


def _number(text: str) -> WrittenNumber | None:
    """The number on the last side of a single equation, such as x = 5."""
    *names, last = _split(text, "=")
    return read_number(last) if all(len(_split(name, ",")) == 1 for name in names) else None


def _calculations(text: str) -> set[str]:
    return set(_CALCULATION.findall(text))


def _read(text: str) -> list[Basic | MatrixBase | str]:
    return parse(rf"\boxed{{{text}}}", _BOX, parsing_timeout=None)


def _equal(right: list, given: list) -> bool:
    return verify(right, given, timeout_seconds=None, raise_on_error=True)


def _split(text: str, sign: str) -> list[str]:
    """Split where a sign stands outside all brackets and relations."""
    if r"\begin" in text:
        return [text]
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == sign and depth <= 0 and text[position - 1 : position] not in ("<", ">", "!", ":", "\\"):
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


def _without_approximation(text: str) -> str | None:
    r"""What stands before an `\approx`, if what stands after it is near; None if it is not."""
    exact, *rounded = re.split(r"\\approx(?![a-zA-Z])|≈", text)
    if not rounded:
        return text
    if not exact.strip():
        return rounded[0].strip() if len(rounded) == 1 else None
    values = [_value(part) for part in (exact, *rounded)]
    if values[0] is None:
        return f"{exact.strip()} = {rounded[-1].strip()}"
    near = all(value is not None and abs(value - values[0]) <= 0.01 * abs(values[0]) for value in values[1:])
    return exact.strip() if near else None


def _value(text: str) -> float | None:
    read = _read(_split(text, "=")[-1])
    if not read or isinstance(read[0], str) or read[0].free_symbols:
        return None
    try:
        return float(read[0].evalf())
    except TypeError:
        return None


def _is_consistent(text: str, right: str) -> bool:
    """Whether no item of a list equates what differs."""
    return all(_has_equal_sides(item, right) for item in _split(text, ","))


def _has_equal_sides(text: str, right: str) -> bool:
    """Whether all sides of an equation are equal, or the first only names what the last is."""
    first, *others = _split(text, "=")
    if not others:
        return True
    *middle, last = others
    if not all(_equal(_read(last), _read(part)) for part in middle):
        return False
    if "=" in right:
        return True
    name = _read(first)
    if not name or isinstance(name[0], str):
        return bool(re.search("[a-zA-Z]", first))
    has_names = bool(name[0].free_symbols or name[0].atoms(AppliedUndef))
    right_read = _read(right)
    is_about_names = bool(right_read) and not isinstance(right_read[0], str) and bool(right_read[0].free_symbols)
    if has_names and (not is_about_names or isinstance(name[0], AppliedUndef) or is_expr_of_only_symbols(name[0])):
        return True
    return _equal(_read(last), name)


for _text in (r"-\frac{1}{2}", r"(x+1)^2", r"2\sqrt{3}\pi", r"\{1, 2\}", r"[1, \infty)", r"x = 3 \text{ cm}"):
    _equal(_read(_text), _read(_text))  # the grammar is slow at the first of each kind; a fork of the process is not


@lru_cache(maxsize=4096)
def prepare(gold: str, *_: object) -> None:
    """Fill the caches of the libraries in the verifier's process, before it forks for an answer.

    Args:
        gold: The right answer, plain or LaTeX.
    """
    score(gold, gold)
