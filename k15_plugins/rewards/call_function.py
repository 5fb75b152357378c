"""What is put around a program whose function is called: Python source, which runs in the program's box."""


def as_module(program: str) -> str:
    """Return source that runs a program as a file of its own, whatever stands before it: its docstring, its futures.

    Args:
        program: Python source.
    """
    return f"\nexec(compile({program!r}, 'program.py', 'exec', dont_inherit=True), globals())\n"


BEFORE = """import ast as _ast, json as _json, sys as _sys
_given = _sys.stdin.read()
_stdout, _sys.stdout = _sys.stdout, _sys.stderr
__name__ = "program"
_sys.modules[__name__] = _sys.modules["__main__"]
"""
"""Takes the call from standard input before the program can, keeps what it prints apart, and runs no main guard.

Its classes are found by their module, as dataclasses and pickle do.
"""

CALL = """
_arguments = [_json.loads(_line) for _line in _given.split("\\n") if _line]
_function = globals()[{name!r}] if {name!r} in globals() else getattr(Solution(), {name!r})
_value = _function(*_arguments)
_stdout.write(_json.dumps(list(_value) if isinstance(_value, tuple) else _value))
_stdout.flush()
"""
"""Calls the function `name`, or that method of `Solution`, with arguments in JSON, and writes its value as JSON."""
