"""Short functions in Python to write: small real programming problems, put together from parts, with tests.

A problem asks for a function of a list, of two numbers or of a text; its right outputs are those of a solution that
is written with it. `python -m k15_plugins.tasks.short_functions FILE` writes all, as JSONL of our own schema.
"""

import itertools
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from k15_plugins.tasks.code_problems import load_code_problems
from k15_plugins.tasks.problems import Problems

FILE = Path(__file__).parents[1] / "assets" / "short_functions.jsonl"
"""The file as the package carries it."""

TESTS = 8

_CONSTANTS = ("0", "1", "[]", "''", "True", "False")
_EASY = {
    "xs": ("xs", "xs[::-1]", "sorted(xs)", "len(xs)", "sum(xs)", "max(xs, default=0)", "min(xs, default=0)"),
    "a, b": ("a", "b", "a + b", "a - b", "a * b", "max(a, b)", "min(a, b)", "a == b", "a > b", "a < b"),
    "s": ("s", "s[::-1]", "s.upper()", "s.lower()", "len(s)", "s.strip()", "len(s.split())", "s == s[::-1]"),
}
"""Wrong functions that are written without reading the question; the tests must notice each of them."""


class _Draft(NamedTuple):
    """A problem before its tests: what `f(arguments)` returns, as text and as Python, and how hard that is."""

    arguments: str
    text: str
    value: str
    level: int


def short_functions(held_out: float = 0.1, system: str | None = None, conversational: bool = True) -> Problems:
    """Load the problems that the package carries.

    Args:
        held_out: A share in (0, 1) of the problems, chosen by a hash of the prompt.
        system: System message; only for conversational prompts.
        conversational: Whether prompts are lists of messages.

    Returns:
        As `load_code_problems`.

    Raises:
        ValueError: As `load_code_problems`.
    """
    return load_code_problems(
        FILE, held_out=held_out, template="{prompt}", system=system, conversational=conversational
    )


def write_short_functions() -> Iterator[dict[str, Any]]:
    """Write the problems, each with its tests and, as its provenance, the solution.

    Yields:
        Rows of our own schema, see `code_schemas.own`.
    """
    drafts = [*_of_lists(), *_of_numbers(), *_of_texts()]
    inputs = {arguments: _inputs(arguments, random.Random(0)) for arguments in _EASY}
    outputs = [_outputs(draft.arguments, draft.value, inputs[draft.arguments]) for draft in drafts]
    wrong = {
        arguments: [_outputs(arguments, value, inputs[arguments]) for value in (*_CONSTANTS, *easy)]
        for arguments, easy in _EASY.items()
    }
    for index, (draft, right) in enumerate(zip(drafts, outputs, strict=True)):
        siblings = [other for of, other in zip(drafts, outputs, strict=True) if of.arguments == draft.arguments]
        chosen = _telling(right, siblings + wrong[draft.arguments])
        yield {
            "id": f"short/{index}",
            "prompt": f"Write a Python function f({draft.arguments}) that returns {draft.text}.",
            "function": "f",
            "level": draft.level,
            "cpu_seconds": 2.0,
            "tests": [{"input": inputs[draft.arguments][each], "output": right[each]} for each in chosen],
            "provenance": {"solution": _solution(draft.arguments, draft.value)},
        }


def solutions() -> dict[str, str]:
    """Return the solution of each problem that the package carries, by the text of its prompt."""
    rows = map(json.loads, FILE.read_text().splitlines())
    return {row["prompt"]: row["provenance"]["solution"] for row in rows}


def _of_lists() -> Iterator[_Draft]:
    filters = [
        ("", ""),
        (" that are even", " if x % 2 == 0"),
        (" that are odd", " if x % 2 == 1"),
        *((f" that are greater than {k}", f" if x > {k}") for k in range(6)),
        *((f" that are less than {k}", f" if x < {k}") for k in range(6)),
        *((f" that are divisible by {k}", f" if x % {k} == 0") for k in (3, 4, 5)),
        *((f" that are not {k}", f" if x != {k}") for k in range(4)),
    ]
    maps = [
        ("the numbers in xs", "x"),
        ("the squares of the numbers in xs", "x * x"),
        ("the absolute values of the numbers in xs", "abs(x)"),
        ("the negatives of the numbers in xs", "-x"),
    ]
    aggregates = [
        ("the sum of {}", "sum({} for x in xs{})"),
        ("a list of {}", "[{} for x in xs{}]"),
        ("a list of {} in reverse order", "[{} for x in reversed(xs){}]"),
        ("a sorted list of {}", "sorted({} for x in xs{})"),
        ("the largest of {}, or 0 if there are none", "max(({} for x in xs{}), default=0)"),
    ]
    for condition, test in filters:
        yield _Draft("xs", f"the number of numbers in xs{condition}", f"sum(1 for x in xs{test})", int(test != ""))
        for things, item in maps:
            for text, value in aggregates:
                level = (test != "") + (item != "x") + text.endswith(("order", "none"))
                yield _Draft("xs", text.format(things + condition), value.format(item, test), level)


def _of_numbers() -> Iterator[_Draft]:
    for k in range(2, 10):
        yield _Draft("a, b", f"{k} times a plus b", f"{k} * a + b", 0)
        yield _Draft("a, b", f"a minus {k} times b", f"a - {k} * b", 0)
        yield _Draft("a, b", f"the larger of a and b, plus {k}", f"max(a, b) + {k}", 1)
        yield _Draft("a, b", f"the smaller of a and b, times {k}", f"min(a, b) * {k}", 1)
        yield _Draft("a, b", f"the remainder of a plus b when divided by {k}", f"(a + b) % {k}", 1)
        yield _Draft("a, b", f"True if a times b is divisible by {k}, else False", f"a * b % {k} == 0", 1)
        yield _Draft("a, b", f"True if a and b differ by at most {k}, else False", f"abs(a - b) <= {k}", 2)


def _of_texts() -> Iterator[_Draft]:
    characters = [
        ("vowels", "in 'aeiouAEIOU'"),
        ("spaces", "== ' '"),
        *((f"letters {letter}", f"== '{letter}'") for letter in "aenos"),
    ]
    for name, test in characters:
        yield _Draft("s", f"the number of {name} in s", f"sum(1 for c in s if c {test})", 0)
        yield _Draft("s", f"s without its {name}", f"''.join(c for c in s if not (c {test}))", 1)
        yield _Draft("s", f"True if s has more than 1 of the {name}, else False", f"sum(c {test} for c in s) > 1", 1)
        yield _Draft("s", f"s reversed and without its {name}", f"''.join(c for c in s[::-1] if not (c {test}))", 2)
    for k in range(1, 6):
        yield _Draft("s", f"the first {k} characters of s", f"s[:{k}]", 0)
        yield _Draft("s", f"the last {k} characters of s", f"s[-{k}:]", 0)
        yield _Draft("s", f"s without its first {k} characters", f"s[{k}:]", 0)
        yield _Draft("s", f"s in upper case, {k} times in a row", f"s.upper() * {k}", 1)
        yield _Draft("s", f"the first {k} characters of s, reversed", f"s[:{k}][::-1]", 1)
        yield _Draft("s", f"True if s is longer than {k} characters, else False", f"len(s) > {k}", 0)


def _solution(arguments: str, value: str) -> str:
    return f"def f({arguments}):\n    return {value}\n"


def _outputs(arguments: str, value: str, inputs: list[list[Any]]) -> list[Any]:
    names: dict[str, Any] = {}
    exec(_solution(arguments, value), names)
    return [names["f"](*each) for each in inputs]


def _telling(right: list[Any], others: list[list[Any]]) -> list[int]:
    """Choose the first input, which is an edge, and then those that best tell what the chosen ones tell least."""
    differs = [[value != of for value, of in zip(other, right, strict=True)] for other in others]
    # What only a constant would give: each output of the right function, on every input.
    differs += [[value != of for of in right] for value in right]
    chosen = [0]
    while len(chosen) < TESTS:
        weights = [0.25 ** sum(each[index] for index in chosen) for each in differs]
        gains = [sum(itertools.compress(weights, each)) for each in zip(*differs, strict=True)]
        chosen.append(max((index for index in range(len(right)) if index not in chosen), key=gains.__getitem__))
    return chosen


def _inputs(arguments: str, rng: random.Random) -> list[list[Any]]:
    """Draw the arguments among which the tests of each problem are chosen."""
    if arguments == "s":
        letters = "aaeeinnoossxtmAEINOSTX  147"
        words = ["", "banana", "Hello World", "noon 12", "Sessions"]
        return [[word] for word in words + ["".join(rng.choices(letters, k=rng.randint(1, 12))) for _ in range(60)]]
    if arguments == "a, b":
        return [[0, 0], *([rng.randint(-12, 20), rng.randint(-12, 20)] for _ in range(120))]
    # Near each bound that a problem may ask for.
    ranges = [(low, high) for low in range(-9, 5) for high in range(low, 16, 2)]
    return [[xs] for xs in [[], *([rng.randint(*each) for _ in range(rng.randint(1, 8))] for each in ranges)]]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in write_short_functions()))
