r"""Other ways to write an answer: what a model puts around it, and numbers and formulas as people write them.

Each turns into a form that a reasoning-gym scorer reads, and says the same.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

_WRAPPED = re.compile(
    r"\\boxed\s*\{(?P<box>.*)\}|\\text\s*\{(?P<text>[^{}]*)\}|\\\((?P<inline>.*)\\\)|\\\[(?P<display>.*)\\\]"
    r'|```(?:\w*\n)?(?P<block>.*)```|"(?P<double>[^"]*)"|\'(?P<single>[^\']*)\'',
    re.DOTALL,
)
_LAYERS = 6
_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_NAME = re.compile(r"([A-Za-z])(?:\(([A-Za-z])\))?\s*=\s*(?!=)")
_SIGNS = {"−": "-", r"\times": "*", "×": "*", r"\cdot": "*", "·": "*", "⋅": "*", r"\div": "/", "÷": "/"}

_NUMBERS = {
    *("aiw", "basic_arithmetic", "binary_alternation", "calendar_arithmetic", "chain_sum", "circuit_logic"),
    *("count_bits", "count_primes", "gcd", "gsm_symbolic", "largest_island", "lcm", "leg_counting", "letter_counting"),
    *("maze", "number_sequence", "products", "rectangle_count", "rotten_oranges", "self_reference"),
    *("simple_equations", "simple_geometry"),
}
_ARITHMETIC = {"countdown", "puzzle24"}
_FORMULAS = {"simple_integration", "intermediate_integration", "polynomial_multiplication"}


def written_forms(answer: str, task: str, entry: dict[str, Any]) -> Iterator[str]:
    """Yield an answer as it is, then other forms that say the same.

    Args:
        answer: The answer.
        task: Name of the reasoning-gym task.
        entry: The problem's entry.
    """
    yield answer
    yield without_dress(answer, full_stop=True)  # a sentence keeps its own
    bare = without_dress(answer)
    yield bare
    if task in _NUMBERS:
        named = _NAME.match(bare)
        if named and task == "simple_equations" and named[1] == entry["metadata"].get("variable"):
            bare = bare[named.end() :]
        number = _number(bare)
        if number is not None and number == _number(entry["answer"]):
            yield entry["answer"]
    elif task in _ARITHMETIC:
        yield _with_plain_signs(bare)
    elif task in _FORMULAS:
        named = _NAME.match(bare)
        yield _with_plain_signs(bare[named.end() :] if named else bare).replace("^", "**")
    elif task == "prime_factorization":
        yield re.sub(r"\s*(?:\\times|\\cdot|[*x·⋅])\s*", " × ", bare)


def without_dress(text: str, full_stop: bool = False) -> str:
    r"""Take off what does not belong to an answer.

    Args:
        text: Such as `**61**`, `$61$`, `\boxed{61}`, `= 61` or `61.`.
        full_stop: Whether a full stop at the end belongs to it.

    Returns:
        Such as `61`; the text as it was where nothing would be left.
    """
    bare = text
    for _ in range(_LAYERS):
        bare = bare.strip()
        wrapped = _WRAPPED.fullmatch(bare)
        if wrapped and _is_balanced(inside := wrapped[wrapped.lastgroup or 0]):
            bare = inside
        bare = bare.strip().removeprefix("**").removesuffix("**")
        bare = bare if full_stop else bare.removesuffix(".")
        bare = bare if bare.startswith("```") else bare.removeprefix("\\$").strip("`$")
        bare = bare if bare.startswith("==") else bare.removeprefix("=")
    return bare.strip() or text


def _is_balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return False
    return True


def _number(text: str) -> Fraction | None:
    text = text.replace("−", "-")
    return Fraction(text.replace(",", "")) if _NUMBER.fullmatch(text) else None


def _with_plain_signs(text: str) -> str:
    for sign, plain in _SIGNS.items():
        text = text.replace(sign, plain)
    return text
