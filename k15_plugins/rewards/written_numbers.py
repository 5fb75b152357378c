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
# Words that change a number or doubt it, and so are no units. (Seconds and quarters are.)
_NO_UNITS = """
    hundred thousand million billion trillion dozen
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety ones tens hundreds thousands
    millions
    billions trillions dozens score scores gross half halves third thirds fourth fourths fifth fifths sixth sixths
    seventh sevenths eighth eighths ninth ninths tenth tenths twentieth twentieths hundredth hundredths thousandth
    thousandths millionth millionths twice thrice double doubled triple tripled quadrupled halved tenfold fold
    plus minus times over divided dividedby multiplied multipliedby added subtracted product sum difference quotient
    ratio mod modulo remainder choose factorial root power exponent inverse reciprocal square-root sqrt sin cos tan cot
    sec csc log exp inf infinity negative negated positive opposite less fewer more greater larger smaller bigger below
    above under than between except excluding without beyond plusminus
    is are was not isnt isn no nor neither never wrong false incorrect untrue maybe perhaps possibly probably unless
    otherwise alternatively either or if but and nan none unknown oder"""
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE = rf"\s*(?P<scale>{'|'.join(_SCALES)}|dozen)\b"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)\s?[€£¥]?\s?(?:(?:(?P<whole>\d+)\s?)?(?:{_FRACTION})|(?:(?P<whole_slash>\d+)\s)?(?:{_SLASHED})|"
    rf"{_REPEATING}|{_TEN}|(?P<decimal>{_DECIMAL})(?:{_POWER}|{_BASE}|{_SCALE})?)(?P<unit>{_UNIT})"
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
    if match is None or changes_a_number(match["unit"]):
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
    if part["scale"]:
        value *= 12 if part["scale"] == "dozen" else 10 ** _SCALES[part["scale"]]
    is_decimal = bool(part["decimal"]) and "." in part["decimal"]
    value = -value if part["sign"] == "-" else value
    return WrittenNumber(value, part["base"] or part["base_digit"] or "", is_lowest, is_decimal)


def changes_a_number(text: str) -> bool:
    """Whether words behind a number change it or doubt it, as in `12 halves` or `12 is wrong`.

    Args:
        text: What stands behind the number, or all of the text.
    """
    words = re.findall(r"(?<!\\)\b[a-z]+", text.lower())
    return not set(_NO_UNITS.split()).isdisjoint(words) or words[:1] in (["squared"], ["cubed"])


def _integer(text: str) -> int:
    return int(text.replace(" ", ""))
