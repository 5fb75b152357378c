"""The rows of public sets of programming problems, read as they are."""

import base64
import binascii
import io
import json
import pickle
import zlib
from typing import Any

from k15_plugins.tasks.code_schemas import (
    MEMORY_MB,
    PRELUDE,
    SECONDS,
    Case,
    CodeProblem,
    checked,
    needed,
    number,
    optional,
    text,
    text_case,
)

_LCB_SECONDS = 6.0  # LiveCodeBench's own limit of a test
_LCB_MEMORY_MB = 4096


def apps(row: dict[str, Any]) -> CodeProblem:
    """Read a row of APPS (codeparrot/apps), whose `input_output` is JSON.

    Args:
        row: The row.

    Raises:
        ValueError: Naming the field.
    """
    given = _json(row, "input_output", dict)
    inputs, outputs = needed(given, "inputs", list), needed(given, "outputs", list)
    function = optional(given, "fn_name", str)
    if len(inputs) != len(outputs):
        raise ValueError(f"input_output must have an output for each of {len(inputs)} inputs, got {len(outputs)}.")
    if function and not all(isinstance(arguments, list) for arguments in inputs):
        raise ValueError(f"input_output must have lists of arguments as inputs of {function}, got {inputs!r:.60}.")
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
    starter = optional(row, "starter_code", str)
    return checked(
        CodeProblem(
            id=str(row.get("problem_id", row.get("id", ""))),
            prompt=text(row, "question") + (f"\n\nBegin with:\n{starter}" if starter else ""),
            tests=tuple(tests),
            function=function,
            checker="value" if function else "floats",
            level={"interview": 1, "competition": 2}.get(optional(row, "difficulty", str) or "", 0),
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
        some = optional(row, name, dict) or {"input": [], "output": []}
        inputs, outputs = (some.get(key) for key in ("input", "output"))
        if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
            raise ValueError(f"{name} must have as many outputs as inputs, each a list, got {some!r:.60}.")
        pairs = zip(inputs, outputs, strict=True)
        tests += [text_case(place, {"input": i, "output": o}, name) for place, (i, o) in enumerate(pairs)]
    limit = optional(row, "time_limit", dict) or {}
    seconds = _number_or(limit, "seconds", 0) + _number_or(limit, "nanos", 0) / 1e9
    memory = int(_number_or(row, "memory_limit_bytes", 0))
    return checked(
        CodeProblem(
            id=text(row, "name"),
            prompt=text(row, "description"),
            tests=tuple(tests),
            checker="floats",
            cpu_seconds=seconds or SECONDS,
            memory_mb=max(1, memory >> 20) if memory else MEMORY_MB,
            level=int(_number_or(row, "difficulty", 0)),
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
    examples = _cases(row, "examples")
    parts = [("", "description"), ("Input", "input_format"), ("Output", "output_format"), ("Note", "note")]
    prompt = "\n\n".join(f"{head}\n{row[name]}".strip() for head, name in parts if optional(row, name, str))
    shown = "".join(f"\n\nExample\n{each.input}\n->\n{each.outputs[0]}" for each in examples)
    checker = optional(row, "generated_checker", str)
    return checked(
        CodeProblem(
            id=text(row, "id"),
            prompt=prompt + shown,
            tests=_cases(row, "official_tests") or examples,
            checker="program" if checker else "floats",
            checker_source=checker or None,
            cpu_seconds=float(_number_or(row, "time_limit", SECONDS)),
            memory_mb=max(1, int(_number_or(row, "memory_limit", MEMORY_MB))),
            level=max(0, (int(_number_or(row, "rating", 800)) - 800) // 100),
        )
    )


def livecodebench(row: dict[str, Any]) -> CodeProblem:
    """Read a row of LiveCodeBench; its packed private tests are unpickled without running code.

    Args:
        row: The row.

    Raises:
        ValueError: Naming the field.
    """
    public = _json(row, "public_test_cases", list)
    private = _private_tests(needed(row, "private_test_cases", str))
    function = optional(_json(row, "metadata", dict), "func_name", str)
    starter = optional(row, "starter_code", str)
    return checked(
        CodeProblem(
            id=text(row, "question_id"),
            prompt=text(row, "question_content") + (f"\n\nBegin with:\n{starter}" if starter else ""),
            tests=(*_listed(public, "public_test_cases"), *_listed(private, "private_test_cases")),
            function=function,
            checker="value" if function else "lines",
            cpu_seconds=_LCB_SECONDS,
            memory_mb=_LCB_MEMORY_MB,
            level={"medium": 1, "hard": 2}.get(optional(row, "difficulty", str) or "", 0),
            prelude=PRELUDE,
        )
    )


class _NoCode(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"private_test_cases must hold text only, got {module}.{name}; do not use this file.")


def _private_tests(packed: str) -> list[Any]:
    try:
        tests = json.loads(packed)
    except ValueError:
        tests = _unpacked(packed)
    if not isinstance(tests, list):
        raise ValueError(f"private_test_cases must be a list, got {tests!r:.60}.")
    return tests


def _unpacked(packed: str) -> Any:
    try:
        return json.loads(_NoCode(io.BytesIO(zlib.decompress(base64.b64decode(packed)))).load())
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"private_test_cases must be JSON, or base64 of zlib of pickle, got {packed!r:.60}."
        ) from error


def _cases(row: dict[str, Any], name: str) -> tuple[Case, ...]:
    return _listed(optional(row, name, list) or [], name)


def _listed(tests: list[Any], name: str) -> tuple[Case, ...]:
    return tuple(text_case(place, test, name) for place, test in enumerate(tests))


def _number_or(row: dict[str, Any], name: str, default: float) -> float:
    """Return a number; where it is missing, null or 0, the default."""
    return number(row, name, default) if row.get(name) not in (None, 0) else default


def _joined(lines: Any) -> str:
    if not isinstance(lines, str | list):
        raise ValueError(f"input_output must have texts or lists of lines, got {lines!r:.60}.")
    return lines if isinstance(lines, str) else "\n".join(map(str, lines))


def _json(row: dict[str, Any], name: str, kind: type) -> Any:
    try:
        value = json.loads(needed(row, name, str))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} must be JSON, got {row[name]!r:.60} ({error}).") from error
    return needed({name: value}, name, kind)
