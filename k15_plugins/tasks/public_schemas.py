"""The rows of public sets of programming problems, read as they are."""

import base64
import binascii
import io
import json
import pickle
import zlib
from typing import Any

from k15_plugins.tasks.code_schemas import MEMORY_MB, PRELUDE, SECONDS, Case, CodeProblem, checked, needed, text_case

_LCB_SECONDS = 6.0  # LiveCodeBench's own limit of a test
_LCB_MEMORY_MB = 4096


def apps(row: dict[str, Any]) -> CodeProblem:
    """Read a row of APPS (codeparrot/apps), whose `input_output` is JSON.

    Args:
        row: The row.

    Raises:
        ValueError: Naming the field.
    """
    given = _json(row, "input_output")
    inputs, outputs = needed(given, "inputs", list), needed(given, "outputs", list)
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
    return checked(
        CodeProblem(
            id=str(row.get("problem_id", row.get("id", ""))),
            prompt=needed(row, "question", str) + (f"\n\nBegin with:\n{starter}" if starter else ""),
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
    return checked(
        CodeProblem(
            id=needed(row, "name", str),
            prompt=needed(row, "description", str),
            tests=tuple(tests),
            checker="floats",
            cpu_seconds=seconds or SECONDS,
            memory_mb=max(1, memory >> 20) if memory else MEMORY_MB,
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
    return checked(
        CodeProblem(
            id=needed(row, "id", str),
            prompt=prompt + examples,
            tests=tuple(text_case(number, test) for number, test in enumerate(tests)),
            checker="program" if checker else "floats",
            checker_source=checker or None,
            cpu_seconds=float(row.get("time_limit") or SECONDS),
            memory_mb=int(row.get("memory_limit") or MEMORY_MB),
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
    tests = [*_json(row, "public_test_cases"), *_private_tests(needed(row, "private_test_cases", str))]
    function = _json(row, "metadata").get("func_name")
    starter = row.get("starter_code") or ""
    return checked(
        CodeProblem(
            id=needed(row, "question_id", str),
            prompt=needed(row, "question_content", str) + (f"\n\nBegin with:\n{starter}" if starter else ""),
            tests=tuple(text_case(number, test) for number, test in enumerate(tests)),
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


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "\n".join(map(str, text))


def _json(row: dict[str, Any], name: str) -> Any:
    try:
        return json.loads(needed(row, name, str))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} must be JSON, got {row[name]!r:.60} ({error}).") from error
