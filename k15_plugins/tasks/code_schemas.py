"""The rows of programming problems: our own schema, and those of the public sets, read as they are."""

import base64
import binascii
import io
import json
import pickle
import zlib
from dataclasses import dataclass
from typing import Any

from k15_plugins.tasks.compare_output import COMPARISONS

_SECONDS, _MEMORY_MB = 10.0, 512
_LCB_SECONDS = 6.0  # LiveCodeBench's own limit of a test
_LCB_MEMORY_MB = 4096
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
    cpu_seconds: float = _SECONDS
    memory_mb: int = _MEMORY_MB
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
        raise ValueError(f"a problem has no field {unknown[0]!r}; it has {', '.join(known)}, level and provenance.")
    function = _optional(row, "function", str)
    tests = _needed(row, "tests", list)
    read = _function_test if function else _text_test
    return _checked(
        CodeProblem(
            id=_needed(row, "id", str),
            prompt=_needed(row, "prompt", str),
            tests=tuple(read(number, test) for number, test in enumerate(tests)),
            language=_optional(row, "language", str) or "python",
            function=function,
            checker=_optional(row, "checker", str) or ("value" if function else "tokens"),
            checker_source=_optional(row, "checker_source", str),
            cpu_seconds=_number(row, "cpu_seconds", _SECONDS),
            memory_mb=int(_number(row, "memory_mb", _MEMORY_MB)),
            level=int(_number(row, "level", 0, at_least=0)),
            prelude=PRELUDE if function else "",
        )
    )


def apps(row: dict[str, Any]) -> CodeProblem:
    """Read a row of APPS (codeparrot/apps), whose `input_output` is JSON.

    Args:
        row: The row.

    Raises:
        ValueError: Naming the field.
    """
    given = _json(row, "input_output")
    inputs, outputs = _needed(given, "inputs", list), _needed(given, "outputs", list)
    function = given.get("fn_name")
    if len(inputs) != len(outputs):
        raise ValueError(f"input_output must have an output for each of {len(inputs)} inputs, got {len(outputs)}.")
    if function:
        # APPS takes a value for right if it is the output, or the first of a list that is the output.
        tests = [
            Case(
                "\n".join(map(json.dumps, arguments)),
                tuple(map(json.dumps, [output, *output[:1]] if isinstance(output, list) else [output])),
            )
            for arguments, output in zip(inputs, outputs, strict=True)
        ]
    else:
        tests = [Case(_joined(i), (_joined(o),)) for i, o in zip(inputs, outputs, strict=True)]
    starter = row.get("starter_code") or ""
    return _checked(
        CodeProblem(
            id=str(row.get("problem_id", row.get("id", ""))),
            prompt=_needed(row, "question", str) + (f"\n\nBegin with:\n{starter}" if starter else ""),
            tests=tuple(tests),
            function=function,
            checker="value" if function else "floats",
            level={"introductory": 0, "interview": 1, "competition": 2}.get(row.get("difficulty") or "", 0),
            prelude=PRELUDE if function else "",
        )
    )


def code_contests(row: dict[str, Any]) -> CodeProblem:
    """Read a row of deepmind/code_contests; its generated tests come after the public and the private ones.

    Args:
        row: The row.

    Raises:
        ValueError: Naming the field.
    """
    tests = []
    for name in ("public_tests", "private_tests", "generated_tests"):
        some = row.get(name) or {"input": [], "output": []}
        tests += [Case(i, (o,)) for i, o in zip(some["input"], some["output"], strict=True)]
    limit = row.get("time_limit") or {}
    seconds = (limit.get("seconds") or 0) + (limit.get("nanos") or 0) / 1e9
    memory = row.get("memory_limit_bytes") or 0
    return _checked(
        CodeProblem(
            id=_needed(row, "name", str),
            prompt=_needed(row, "description", str),
            tests=tuple(tests),
            checker="floats",
            cpu_seconds=seconds or _SECONDS,
            memory_mb=max(1, memory >> 20) if memory else _MEMORY_MB,
            level=int(row.get("difficulty") or 0),
        )
    )


def codeforces(row: dict[str, Any]) -> CodeProblem:
    """Read a row of open-r1/codeforces; without official tests, its examples are the tests.

    Args:
        row: The row.

    Raises:
        ValueError: Naming the field; also for a problem that reads files or talks to a judge.
    """
    if row.get("interaction_format"):
        raise ValueError("interaction_format must be empty: a program cannot talk to a judge here; leave the row out.")
    if row.get("input_mode", "stdio") != "stdio":
        raise ValueError(f"input_mode must be 'stdio', got {row['input_mode']!r}; leave the row out.")
    tests = row.get("official_tests") or row.get("examples") or []
    parts = [("", "description"), ("Input", "input_format"), ("Output", "output_format"), ("Note", "note")]
    prompt = "\n\n".join(f"{head}\n{row[name]}".strip() for head, name in parts if row.get(name))
    examples = "".join(f"\n\nExample\n{e['input']}\n->\n{e['output']}" for e in row.get("examples") or [])
    checker = row.get("generated_checker")
    return _checked(
        CodeProblem(
            id=_needed(row, "id", str),
            prompt=prompt + examples,
            tests=tuple(_text_test(number, test) for number, test in enumerate(tests)),
            checker="program" if checker else "floats",
            checker_source=checker or None,
            cpu_seconds=float(row.get("time_limit") or _SECONDS),
            memory_mb=int(row.get("memory_limit") or _MEMORY_MB),
            level=max(0, (int(row.get("rating") or 800) - 800) // 100),
        )
    )


def livecodebench(row: dict[str, Any]) -> CodeProblem:
    """Read a row of LiveCodeBench; its packed private tests are unpickled without running code.

    Args:
        row: The row.

    Raises:
        ValueError: Naming the field.
    """
    tests = [*_json(row, "public_test_cases"), *_private_tests(_needed(row, "private_test_cases", str))]
    function = _json(row, "metadata").get("func_name")
    starter = row.get("starter_code") or ""
    return _checked(
        CodeProblem(
            id=_needed(row, "question_id", str),
            prompt=_needed(row, "question_content", str) + (f"\n\nBegin with:\n{starter}" if starter else ""),
            tests=tuple(_text_test(number, test) for number, test in enumerate(tests)),
            function=function,
            checker="value" if function else "lines",
            cpu_seconds=_LCB_SECONDS,
            memory_mb=_LCB_MEMORY_MB,
            level={"easy": 0, "medium": 1, "hard": 2}.get(row.get("difficulty") or "", 0),
            prelude=PRELUDE,
        )
    )


class _NoCode(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"private_test_cases must hold text only, got {module}.{name}; do not use this file.")


def _private_tests(text: str) -> list[Any]:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        packed = _NoCode(io.BytesIO(zlib.decompress(base64.b64decode(text)))).load()
        return json.loads(packed)
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, TypeError) as error:
        raise ValueError(f"private_test_cases must be JSON, or base64 of zlib of pickle, got {text!r:.60}.") from error


def _checked(problem: CodeProblem) -> CodeProblem:
    if not problem.id:
        raise ValueError("id must be text, and not empty; give each problem one.")
    if not problem.prompt.strip():
        raise ValueError("prompt must be text, and not empty.")
    if not problem.tests and problem.asserts is None:
        raise ValueError("tests must hold at least one test, got none; without tests nothing is right or wrong.")
    if problem.language not in ("python", "cpp"):
        raise ValueError(f"language must be python or cpp, got {problem.language!r}.")
    if problem.function and problem.language != "python":
        raise ValueError(f"function must be left out for {problem.language}: only Python's functions are called.")
    if problem.checker not in (*COMPARISONS, "program"):
        raise ValueError(f"checker must be one of {', '.join(COMPARISONS)} or program, got {problem.checker!r}.")
    if (problem.checker == "program") != bool(problem.checker_source):
        raise ValueError("checker_source must be the program of the checker 'program', and goes with no other.")
    if (problem.checker == "value") != bool(problem.function):
        raise ValueError("checker 'value' goes with a function, and a function with no other checker.")
    return problem


def _text_test(number: int, test: Any) -> Case:
    if not isinstance(test, dict) or not isinstance(test.get("input"), str):
        raise ValueError(f"tests[{number}] must have an input that is text, got {test!r:.60}.")
    outputs = test.get("output")
    outputs = outputs if isinstance(outputs, list) else [outputs]
    if not outputs or not all(isinstance(output, str) for output in outputs):
        raise ValueError(f"tests[{number}] must have an output, text or a list of texts, got {test!r:.60}.")
    return Case(test["input"], tuple(outputs))


def _function_test(number: int, test: Any) -> Case:
    if not isinstance(test, dict) or not isinstance(test.get("input"), list) or "output" not in test:
        raise ValueError(f"tests[{number}] must have a list of arguments as input, and an output, got {test!r:.60}.")
    return Case("\n".join(map(json.dumps, test["input"])), (json.dumps(test["output"]),))


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "\n".join(map(str, text))


def _needed(row: dict[str, Any], name: str, kind: type) -> Any:
    if name not in row:
        raise ValueError(f"{name} is missing; the row has {', '.join(row) or 'nothing'}.")
    if not isinstance(row[name], kind):
        raise ValueError(f"{name} must be {'text' if kind is str else 'a list'}, got {row[name]!r:.60}.")
    return row[name]


def _optional(row: dict[str, Any], name: str, kind: type) -> Any:
    return _needed(row, name, kind) if row.get(name) is not None else None


def _number(row: dict[str, Any], name: str, default: float, at_least: float = 1e-3) -> float:
    value = row.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value < float("inf"):
        raise ValueError(f"{name} must be a number from {at_least:g}, got {value!r:.60}.")
    return value


def _json(row: dict[str, Any], name: str) -> Any:
    try:
        return json.loads(_needed(row, name, str))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} must be JSON, got {row[name]!r:.60} ({error}).") from error
