"""A Python program in a fork: compiled in one, run in many. What happens here is not trusted."""

from __future__ import annotations

import _sitebuiltins
import atexit
import builtins
import io
import marshal
import os
import sys
import types

# As typing's, without the time that it takes to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Modules that contest programs often name: imported before the forks, so that they are not imported in each one.
_COMMON = (
    *("array", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "fractions", "functools"),
    *("heapq", "io", "itertools", "json", "math", "operator", "queue", "random", "re", "statistics", "string"),
    *("threading", "time", "typing"),
)


def import_common(source: bytes) -> None:
    """Import the modules of a fixed list whose name stands anywhere in a program."""
    for name in _COMMON:
        if name.encode() in source:
            __import__(name)


def compile_to_output(path: str) -> None:
    """Write a program, compiled, to the standard output.

    Args:
        path: Its source.

    Raises:
        BaseException: Whatever the compiler raises for it.
    """
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    with open(1, "wb", closefd=False) as output:
        marshal.dump(code, output)


def run(code: bytes, path: str, arguments: list[str], modules: list[str]) -> int:
    """Run a program as `python main.py` does.

    Args:
        code: From `compile_to_output`.
        path: Its file, for `__file__`.
        arguments: Its command line.
        modules: Folders whose modules it may import, before the standard library's.

    Returns:
        Its exit code.
    """
    sys.argv = [path, *arguments]
    sys.path[:] = [*modules, *(entry for entry in sys.path if not entry.startswith(os.path.dirname(__file__)))]
    standard_input = io.BufferedReader(io.FileIO(0, "r"))
    output, errors = io.BufferedWriter(io.FileIO(1, "w")), io.FileIO(2, "w")
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(standard_input, "utf-8", "surrogateescape")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(output, "utf-8", "surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(  # type: ignore[misc]
        io.BufferedWriter(errors), "utf-8", "backslashreplace", line_buffering=True, write_through=True
    )
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    main = types.ModuleType("__main__")
    main.__file__ = path
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    exit_code = _guarded(exec, marshal.loads(code), main.__dict__)
    # The end of Python: other threads go on, then what was registered for the end.
    if "threading" in sys.modules:
        _guarded(sys.modules["threading"]._shutdown)
    _guarded(atexit._run_exitfuncs)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            exit_code = _guarded(stream.flush) or exit_code
    return exit_code


def _guarded(function: Callable[..., object], *arguments: Any) -> int:
    """Call a function of the program; tell an exception as Python does, and return the exit code that it means."""
    try:
        function(*arguments)
    except SystemExit as error:
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code & 0xFF
        print(error.code, file=sys.stderr)
        return 1
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 1
    return 0
