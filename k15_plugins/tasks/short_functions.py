"""Short functions in Python to write: small real programming problems, put together from parts, with tests.

A problem asks for a function of a list, of two numbers or of a text; its right outputs are those of a solution that
is written with it. `python -m k15_plugins.tasks.short_functions FILE` writes all, as JSONL of our own schema.
"""

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

_WORDS = (
    "banana",
    "Hello World",
    "a1b2c3",
    "Queue",
    "",
    "x",
    "Madam",
    "tea at 4",
    "ABC abc",
    "noon 12",
    "Sessions",
    "e",
)


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
    for index, draft in enumerate(drafts):
        solution = f"def f({draft.arguments}):\n    return {draft.value}\n"
        names: dict[str, Any] = {}
        exec(solution, names)
        inputs = _inputs(draft.arguments, random.Random(index))
        yield {
            "id": f"short/{index}",
            "prompt": f"Write a Python function f({draft.arguments}) that returns {draft.text}.",
            "function": "f",
            "level": draft.level,
            "cpu_seconds": 2.0,
            "tests": [{"input": each, "output": names["f"](*each)} for each in inputs],
            "provenance": {"solution": solution},
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


def _inputs(arguments: str, rng: random.Random) -> list[list[Any]]:
    """Draw the arguments of each test; those of a list begin with an empty one and one with all kinds of numbers."""
    if arguments == "s":
        return [[word] for word in rng.sample(_WORDS, TESTS)]
    if arguments == "a, b":
        return [[rng.randint(-20, 20), rng.randint(-20, 20)] for _ in range(TESTS)]
    fixed = [[], list(range(-5, 7))]
    drawn = [[rng.randint(-9, 15) for _ in range(rng.randint(1, 9))] for _ in range(TESTS - len(fixed))]
    return [[xs] for xs in fixed + drawn]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in write_short_functions()))
