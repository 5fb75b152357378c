"""What is put around a program whose function is called: Python source, which runs in the program's box."""

import re

_FUTURE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n|from __future__ import [^\n(\\]*(?:\n|$))*")


def after_future(before: str, program: str) -> str:
    """Put source before a program, but behind its `from __future__` lines, which must come first.

    Args:
        before: Python source.
        program: Python source; such lines count where only comments and empty lines stand before them.
    """
    match = _FUTURE.match(program)
    end = match.end() if match else 0
    head, rest = program[:end], program[end:]
    return f"{head}{before}{rest}" if not head or head.endswith("\n") else f"{head}\n{before}{rest}"


BEFORE = """import ast as _ast, json as _json, sys as _sys
_given = _sys.stdin.read()
_stdout, _sys.stdout = _sys.stdout, _sys.stderr
__name__ = "program"
"""
"""Takes the call from standard input before the program can, keeps what it prints apart, and runs no main guard."""

CALL = """
_arguments = [_json.loads(_line) for _line in _given.split("\\n") if _line]
_function = getattr(Solution(), {name!r}) if "Solution" in globals() else globals()[{name!r}]
_value = _function(*_arguments)
_stdout.write(_json.dumps(list(_value) if isinstance(_value, tuple) else _value))
_stdout.flush()
"""
"""Calls the function `name`, or that method of `Solution`, with arguments in JSON, and writes its value as JSON."""
