r"""Scores a mathematical answer with math-verify; imported by the verifier's process only.

math-verify reads an answer kindly: of `6 \text{ or 5}` it reads 6, of `5=6` the last number. What lists alternatives,
or says two different things, is refused here before it is asked.
"""

import re
from functools import lru_cache

from latex2sympy2_extended import is_expr_of_only_symbols
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Add, Basic, FiniteSet, Interval, MatrixBase, Mul, Pow, Tuple
from sympy.core.function import AppliedUndef

from k15_plugins.rewards.written_numbers import WrittenNumber, changes_a_number, read_number

_LONGEST_CHARACTERS = 1000
_BOX = [LatexExtractionConfig()]  # the whole box or nothing: its default also takes a number that stands in the box
_PACKED_WORDS = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mbox)\s*\{([^{}]*(?:\d|\b(?:or|and|hundred|thousand|[mbtr]+illion|dozen)\b)[^{}]*)\}"
)
_SPACE = re.compile(r"(?<!\\)\\[ ,;:]|~|\\(?:q?quad|enspace|thinspace)(?![a-zA-Z])|\s+")
_TWO_NUMBERS = re.compile(r"(?<!frac)(?<!frac )(?<![\d._^])\d[\d.]* +\d")
_CALCULATION = re.compile(
    r"\\(?:[io]*int|sum|prod|lim|det|gcd|lcm|max|min|[dt]?binom|lfloor|lceil|[bp]?mod)(?![a-zA-Z])|!"
    r"|frac\s*\{\s*(?:d|\\partial)\s*\}"
)
_NO_RATIO = re.compile(r"\d+ ?: ?0+")  # a time of day, and nothing to divide
_BEFORE_A_NUMBER = re.compile(r"^(?:\s|\\sim(?![a-zA-Z])|(?:Rs\.?|\\(?:text|mathrm)\{\s*Rs\.?\s*\}) ?(?=[\d.]))+")
_UNITS_AND_UNITS = re.compile(r"^([\d.,]+(?: [A-Za-z]{3,})+) and(?=(?: [A-Za-z]{3,})+$)")
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
    if given == right or _NO_RATIO.fullmatch(right):
        return float(given == right)
    return float(_is_equal(right, given, strict))


def _is_equal(right: str, given: str, strict: bool) -> bool:
    if letter := _letter(right):
        return _letter(given) == letter
    right_number, given_number = _number(right), _number_at_end(given)
    if right_number is not None and given_number is not None:
        is_right = given_number.equals(right_number) and (given_number.is_lowest or not strict)
        return is_right and _names_the_same(given, right) and _is_consistent(given, right)
    if right_number is not None and (strict or changes_a_number(given)):
        return False
    if strict and not _calculations(given) <= _calculations(right):
        return False
    if _TWO_NUMBERS.search(given) or not _is_consistent(given, right):
        return False
    return _equal(_read(right), _read(given))


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
    text = re.sub(r"\\text\s*\{\s*\}", "", text).replace(r"\pounds", "£")
    text = _PACKED_WORDS.sub(r" \1 ", text)
    text = text.replace(r"\varnothing", r"\emptyset").replace("°", r"^\circ")
    text = _BEFORE_A_NUMBER.sub("", _SPACE.sub(" ", text))
    text = _UNITS_AND_UNITS.sub(r"\1", re.sub(r"(?<=\.\d\d\d) ?(?:\\[lc]?dots|\.\.\.|…)$", "", text.strip()))
    text = re.sub(r",? ?(?:\\(?:lor|vee)(?![a-zA-Z])|(?<![\\a-zA-Z])(?:or|and)(?![a-zA-Z]))", ",", text)
    text = re.sub(r"(?:\s|\\?%|(?<!\\)[.,;])+$", "", text)
    while text.startswith("{") and _closing(text, 0) == len(text) - 1:
        text = text[1:-1]
    text = text.strip()
    if text.startswith("(") and text.endswith(")") and read_number(text[1:-1]) is not None:
        text = text[1:-1]
    if text.startswith("-(") and text.endswith(")") and "-" not in text[1:] and read_number(text[2:-1]) is not None:
        text = f"-{text[2:-1]}"
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
    """The number that a text is, or that it says a name is, such as x = 5 but not 2x = 5."""
    number = _number_at_end(text)
    return number if number is not None and all(map(_is_a_name, _split(text, "=")[:-1])) else None


def _number_at_end(text: str) -> WrittenNumber | None:
    """The number on the last side of a single equation."""
    *names, last = _split(text, "=")
    return read_number(last) if all(len(_split(name, ",")) == 1 for name in names) else None


def _is_a_name(text: str) -> bool:
    """Whether one side of an equation is a variable, a value of a function, a product of variables, or a number.

    Sums of variables count too: "find m + n" is a usual question. Powers and multiples are not what is asked for.
    """
    read = _read(text)
    if not read or isinstance(read[0], str):
        return bool(re.search("[a-zA-Z]", text))
    return not _has_names(read[0]) or _is_simple(read[0])


def _is_simple(node: Basic) -> bool:
    if node.is_Symbol or isinstance(node, AppliedUndef) or node == -1:
        return True
    if isinstance(node, Tuple | FiniteSet | Interval):  # (x, y) is read as an interval
        return all(_is_simple(item) for item in node.args if item.free_symbols)
    is_plain = isinstance(node, Add | Mul) or (isinstance(node, Pow) and node.exp == -1)
    return is_plain and all(map(_is_simple, node.args))


def _has_names(read: Basic | MatrixBase) -> bool:
    return bool(read.free_symbols or read.atoms(AppliedUndef))


def _names_the_same(given: str, right: str) -> bool:
    """Whether the equation names what the right answer names, or where that is a number alone, any variable."""
    names, asked = (_split(text, "=")[:-1] for text in (given, right))
    for name in names:
        read = _read(name)
        if not _is_a_name(name):
            return False
        if not asked or not read or isinstance(read[0], str) or not _has_names(read[0]):
            continue
        if not any(_equal(_read(other), read) for other in asked):
            return False
    return True


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
    if not all(_is_a_symbol(part) or _equal(_read(last), _read(part)) for part in middle):
        return False
    if "=" in right:
        return True
    name = _read(first)
    if not name or isinstance(name[0], str):
        return bool(re.search("[a-zA-Z]", first))
    has_names = _has_names(name[0])
    right_read = _read(right)
    is_about_names = bool(right_read) and not isinstance(right_read[0], str) and bool(right_read[0].free_symbols)
    if has_names and not is_about_names:
        return _is_simple(name[0])
    if has_names and (isinstance(name[0], AppliedUndef) or is_expr_of_only_symbols(name[0])):
        return True
    return _equal(_read(last), name)


def _is_a_symbol(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z](?:_(?:\w|\{\w+\}))?", text.strip()) is not None


for _text in (r"-\frac{1}{2}", r"(x+1)^2", r"2\sqrt{3}\pi", r"\{1, 2\}", r"[1, \infty)", r"x = 3 \text{ cm}"):
    _equal(_read(_text), _read(_text))  # the grammar is slow at the first of each kind; a fork of the process is not


@lru_cache(maxsize=4096)
def prepare(gold: str, *_: object) -> None:
    """Fill the caches of the libraries in the verifier's process, before it forks for an answer.

    Args:
        gold: The right answer, plain or LaTeX.
    """
    right = _tidy(_inside(gold))
    _is_equal(right, right, True)
