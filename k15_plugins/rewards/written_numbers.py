"""Reads an answer that is written as a number, plain or LaTeX, with or without a unit; anything else is none."""

import re
from fractions import Fraction
from math import gcd
from typing import NamedTuple

# Every repetition stands for one sign or one bracketed piece, so that no text makes the pattern slow.
_INTEGER = r"[+-]?\s?\d+"
_DECIMAL = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?: \d{3})+|\d+(?:\.\d+)?|\.\d+)"
_FRACTION = (
    rf"\\[dtc]?frac\s?(?:\{{(?P<over>{_INTEGER})\}}|(?P<over_digit>\d))"
    rf"\s?(?:\{{(?P<under>{_INTEGER})\}}|(?P<under_digit>\d))"
)
_SLASHED = r"\{?(?P<over_slash>\d+)\}?\s?/\s?\{?(?P<under_slash>\d+)\}?"
_POWER = (
    r"(?:(?:\s?(?:\\times|\\cdot|\*|×)\s?10\s?\^\s?(?:\{(?P<exponent>[+-]?\d{1,3})\}|(?P<exponent_digit>\d)))"
    r"|[eE](?P<e>[+-]?\d{1,3}))"
)
_TEN = r"10\s?\^\s?(?:\{(?P<ten>[+-]?\d{1,3})\}|(?P<ten_digit>\d))"
_REPEATING = r"(?P<before>\d*\.\d*)\\overline\{(?P<period>\d+)\}"
_BASE = r"_(?:\{(?P<base>\d+)\}|(?P<base_digit>\d))"
# Words that say what is counted. What calculates, or goes on to another number, is no unit.
_WORD = (
    r"(?!(?:sqrt|sin|cos|tan|cot|sec|csc|log|exp|inf|infinity|mod|choose|factorial|times|plus|minus|over|and|or)\b)"
    r"(?:[A-Za-z]{3,}(?:-[A-Za-z]{3,})*|[cmk]?m|[mk]?g|m[lL]|hr?|sq|in|ft|yd|mi|lb|oz|am|pm|th|st|nd|rd|[slLJNVWKCF])\b\.?"
)
_WORDS = rf"(?:{_WORD}|\\(?:text|mbox|textrm|mathrm|textit)\s?\{{[^{{}}\d]*\}})(?:\^\s?(?:[23]|\{{[23]\}}))?"
_UNIT = (
    rf"(?:\s|[€£¥']|\\?%|\^\s?(?:\\circ|\{{\\circ\}}|\{{?\\(?:text|mathrm)\{{(?:st|nd|rd|th)\}}\}}?)|"
    rf"{_WORDS}(?:\s?/\s?{_WORDS})?)*"
)
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)\s?[€£¥]?\s?(?:(?:(?P<whole>\d+)\s?)?(?:{_FRACTION})|(?:(?P<whole_slash>\d+)\s)?(?:{_SLASHED})|"
    rf"{_REPEATING}|{_TEN}|(?P<decimal>{_DECIMAL})(?:{_POWER}|{_BASE})?){_UNIT}"
)


class WrittenNumber(NamedTuple):
    """A number as it is written.

    Attributes:
        value: Its value; of a number with a base, the value that its digits have in base ten.
        base: The base that is written with it; "" if there is none.
        is_lowest: False for a fraction that can be reduced, such as 6/8 or 14/2.
        is_decimal: Whether it is written with a decimal point, and so perhaps rounded.
    """

    value: Fraction
    base: str
    is_lowest: bool
    is_decimal: bool

    def equals(self, right: "WrittenNumber") -> bool:
        """Whether it is the right number; a decimal one to six places, as for math-verify."""
        if self.base and right.base and self.base != right.base:
            return False
        if self.value == right.value:
            return True
        # Near it too: else 0.0 would be a right answer to every tiny number.
        difference = abs(self.value - right.value)
        return (
            (self.is_decimal or right.is_decimal)
            and round(self.value, 6) == round(right.value, 6)
            and difference <= abs(right.value) / 10_000
        )


def read_number(text: str) -> WrittenNumber | None:
    r"""Read a number.

    Args:
        text: Such as `1,234.5`, `\frac{3}{4}`, `1 1/2`, `0.\overline{3}`, `1.5 \times 10^{3}`, `1011_2`,
            `18 dollars`, `50%` or `6 \text{ cm}^2`. A percent sign is taken as a unit.

    Returns:
        None if it is anything else, such as a sum, a root or two numbers.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    is_lowest = True
    if over := part["over"] or part["over_digit"] or part["over_slash"]:
        above, below = _integer(over), _integer(part["under"] or part["under_digit"] or part["under_slash"])
        if below == 0:
            return None
        whole = part["whole"] or part["whole_slash"]
        value = Fraction(above, below) + int(whole or 0)
        is_lowest = gcd(above, below) == 1 and abs(below) > 1 and (whole is None or abs(above) < abs(below))
    elif part["period"]:
        shift = len(part["before"].partition(".")[2])
        repeated = Fraction(int(part["period"]), (10 ** len(part["period"]) - 1) * 10**shift)
        value = Fraction("0" + part["before"] + "0") + repeated
    elif ten := part["ten"] or part["ten_digit"]:
        value = Fraction(10) ** int(ten)
    else:
        value = Fraction(re.sub(r"[ ,]", "", part["decimal"]))
        value *= Fraction(10) ** int(part["exponent"] or part["exponent_digit"] or part["e"] or 0)
    is_decimal = bool(part["decimal"]) and "." in part["decimal"]
    value = -value if part["sign"] == "-" else value
    return WrittenNumber(value, part["base"] or part["base_digit"] or "", is_lowest, is_decimal)


def _integer(text: str) -> int:
    return int(text.replace(" ", ""))
