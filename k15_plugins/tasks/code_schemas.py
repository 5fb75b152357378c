"""A programming problem with its tests, and its row in our own schema."""

import json
from dataclasses import dataclass
from typing import Any

from k15_plugins.tasks.compare_output import COMPARISONS

SECONDS, MEMORY_MB = 10.0, 512
_MOST = 1e12
_KINDS: dict[type, str] = {str: "text", list: "a list", dict: "a group of keys"}
# LeetCode and LiveCodeBench give these names to every program.
PRELUDE = """from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from builtins import *
from typing import *
import bisect, collections, copy, datetime, functools, heapq, io, itertools, json, math, operator, random, re
import statistics, string, sys
sys.setrecursionlimit(50000)
"""


@dataclass(frozen=True)
class Case:
    """An input and the outputs that are right for it.

    Attributes:
        input: Standard input; for a function its arguments as JSON, one a line.
        outputs: Any of these is right: standard output; for a function its value as JSON.
    """

    input: str
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Asserts:
    """Tests as Python statements, which call functions of the program and raise where it is wrong.

    Attributes:
        source: The statements. What they call is in another box: the program sees the arguments of each call, one by
            one, and never what is expected.
        functions: Names of what they call.
        stem: Source that the program goes on with, if it does not define the first function itself; what stands before
            that function there, imports and helpers, is put before the program in any case.
    """

    source: str
    functions: tuple[str, ...]
    stem: str = ""


@dataclass(frozen=True)
class CodeProblem:
    """A programming problem.

    Attributes:
        id: Its name, unique in its file.
        prompt: What is to be written.
        tests: At least one, but with `asserts`.
        language: "python" or "cpp".
        function: Name of the function that is called, also a method of a class `Solution`; None for a program that
            reads standard input.
        checker: How outputs are compared: a name in `tasks.compare_output.COMPARISONS`, or "program".
        checker_source: The Python program that checks; it is called with the files of the input, of the right output
            and of the given one, and writes 1 if that is right.
        cpu_seconds: Limit of a test.
        memory_mb: Limit of a test, in MiB.
        level: Difficulty, from 0 (easiest).
        prelude: What is put before each program, in its language.
        asserts: The tests of problems that have them as statements.
    """

    id: str
    prompt: str
    tests: tuple[Case, ...]
    language: str = "python"
    function: str | None = None
    checker: str = "tokens"
    checker_source: str | None = None
    cpu_seconds: float = SECONDS
    memory_mb: int = MEMORY_MB
    level: int = 0
    prelude: str = ""
    asserts: Asserts | None = None


def own(row: dict[str, Any]) -> CodeProblem:
    """Read a row of our own schema.

    Its keys are the fields of [`CodeProblem`], `id`, `prompt` and `tests` are needed. A test is
    `{"input": ..., "output": ...}`, its output text, or a list of texts any of which is right. With a `function`,
    `input` is the list of its arguments and `output` the value, as JSON has them.

    Args:
        row: The row.

    Raises:
        ValueError: Naming the field.
    """
    known = ("id", "prompt", "tests", "language", "function", "checker", "checker_source", "cpu_seconds", "memory_mb")
    if unknown := [key for key in row if key not in (*known, "level", "provenance")]:
        raise ValueError(
            f"a problem has no field {unknown[0]!r}; it has {', '.join(known)}, level and provenance; correct it or "
            "leave it out."
        )
    function = optional(row, "function", str)
    tests = needed(row, "tests", list)
    read = _function_case if function else text_case
    return checked(
        CodeProblem(
            id=needed(row, "id", str),
            prompt=needed(row, "prompt", str),
            tests=tuple(read(place, test) for place, test in enumerate(tests)),
            language=optional(row, "language", str) or "python",
            function=function,
            checker=optional(row, "checker", str) or ("value" if function else "tokens"),
            checker_source=optional(row, "checker_source", str),
            cpu_seconds=number(row, "cpu_seconds", SECONDS),
            memory_mb=_whole(row, "memory_mb", MEMORY_MB, at_least=1),
            level=_whole(row, "level", 0, at_least=0),
            prelude=PRELUDE if function else "",
        )
    )


def checked(problem: CodeProblem) -> CodeProblem:
    """Return a problem whose fields go together.

    Args:
        problem: As it was read.

    Raises:
        ValueError: Naming the field.
    """
    if not problem.id:
        raise ValueError("id must be text, and not empty; give each problem one.")
    if not problem.prompt.strip():
        raise ValueError("prompt must be text, and not empty.")
    if not problem.tests and problem.asserts is None:
        raise ValueError("tests must hold at least one test, got none; without tests nothing is right or wrong.")
    if problem.language not in ("python", "cpp"):
        raise ValueError(f"language must be python or cpp, got {problem.language!r}.")
    if problem.function and not problem.function.isidentifier():
        raise ValueError(f"function must be a name of Python, got {problem.function!r}; give the function's own.")
    if problem.checker_source is not None:
        try:
            compile(problem.checker_source, "checker", "exec")
        except (SyntaxError, ValueError) as error:
            raise ValueError(
                f"checker_source must be a program in Python, got one with {error}; correct it."
            ) from error
    if problem.function and problem.language != "python":
        raise ValueError(f"function must be left out for {problem.language}: only Python's functions are called.")
    if problem.checker not in (*COMPARISONS, "program"):
        raise ValueError(f"checker must be one of {', '.join(COMPARISONS)} or program, got {problem.checker!r}.")
    if (problem.checker == "program") != bool(problem.checker_source):
        raise ValueError("checker_source must be the program of the checker 'program', and goes with no other.")
    if (problem.checker == "value") != bool(problem.function):
        raise ValueError("checker 'value' goes with a function, and a function with no other checker.")
    return problem


def text_case(number: int, test: Any, field: str = "tests") -> Case:
    """Read a test of standard input and output.

    Args:
        number: Of the test, from 0.
        test: `input` and `output`.
        field: Where it stands.

    Raises:
        ValueError: Naming the test.
    """
    if not isinstance(test, dict) or not isinstance(test.get("input"), str):
        raise ValueError(f"{field}[{number}] must have an input that is text, got {test!r:.60}.")
    outputs = test.get("output")
    outputs = outputs if isinstance(outputs, list) else [outputs]
    if not outputs or not all(isinstance(output, str) for output in outputs):
        raise ValueError(f"{field}[{number}] must have an output, text or a list of texts, got {test!r:.60}.")
    return Case(test["input"], tuple(outputs))


def _function_case(number: int, test: Any) -> Case:
    if not isinstance(test, dict) or not isinstance(test.get("input"), list) or "output" not in test:
        raise ValueError(f"tests[{number}] must have a list of arguments as input, and an output, got {test!r:.60}.")
    return Case("\n".join(map(json.dumps, test["input"])), (json.dumps(test["output"]),))


def needed(row: dict[str, Any], name: str, kind: type) -> Any:
    """Return a field that a row must have.

    Args:
        row: The row.
        name: Of the field.
        kind: `str`, `list` or `dict`.

    Raises:
        ValueError: If it is missing or of another kind.
    """
    if name not in row:
        raise ValueError(f"{name} is missing; the row has {', '.join(row) or 'nothing'}; add it.")
    if not isinstance(row[name], kind):
        raise ValueError(f"{name} must be {_KINDS[kind]}, got {row[name]!r:.60}.")
    return row[name]


def optional(row: dict[str, Any], name: str, kind: type) -> Any:
    """Return a field that a row may lack, or None.

    Args:
        row: The row.
        name: Of the field.
        kind: `str`, `list` or `dict`.

    Raises:
        ValueError: If it is of another kind.
    """
    return needed(row, name, kind) if row.get(name) is not None else None


def text(row: dict[str, Any], name: str) -> str:
    """Return a text that a row must have, and that is not empty.

    Args:
        row: The row.
        name: Of the field.

    Raises:
        ValueError: If it has none.
    """
    if not isinstance(row.get(name), str) or not row[name].strip():
        raise ValueError(f"{name} must be text, and not empty, got {row.get(name)!r:.60}.")
    return row[name]


def number(row: dict[str, Any], name: str, default: float) -> float:
    """Return a number above 0.

    Args:
        row: The row.
        name: Of the field.
        default: Where it is missing.

    Raises:
        ValueError: If it is none.
    """
    value = row.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-3 <= value <= _MOST:
        raise ValueError(f"{name} must be a number from 0.001 to {_MOST:g}, got {value!r:.60}.")
    return value


def _whole(row: dict[str, Any], name: str, default: int, at_least: int) -> int:
    value = row.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ValueError(f"{name} must be a whole number from {at_least}, got {value!r:.60}.")
    return value
