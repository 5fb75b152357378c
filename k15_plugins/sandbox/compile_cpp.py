"""C++: compiled in a box of its own, carried out as bytes, run in another."""

from pathlib import Path
from typing import TYPE_CHECKING

from k15_plugins.sandbox.outcome import Outcome, Status
from k15_plugins.sandbox.program import Limits, Program
from k15_plugins.sandbox.task import Task

if TYPE_CHECKING:
    from k15_plugins.sandbox.local import LocalSandbox

# Processor time: `bits/stdc++.h` alone takes two seconds, and a machine may be slower.
_LIMITS = Limits(
    cpu_seconds=30.0,
    memory_bytes=2 * 2**30,
    output_bytes=64 * 2**20,
    scratch_bytes=256 * 2**20,
)
_OPTIONS = ("-O2", "-std=c++17", "-o", "a.out", "main.cpp")
_TOOLCHAIN = (Path("/usr/bin"), Path("/usr/include"))
_COMPILERS = (Path("/usr/bin/g++"), Path("/usr/bin/clang++"))


def find_compiler() -> Path:
    """Return the system's C++ compiler.

    Raises:
        ValueError: If it has none.
    """
    for compiler in _COMPILERS:
        if compiler.exists():
            return compiler
    raise ValueError(
        "language must be python on a machine without a C++ compiler, got 'cpp'; install g++, "
        f"{' or '.join(map(str, _COMPILERS))}."
    )


def compile_cpp(sandbox: "LocalSandbox", program: Program) -> Task | Outcome:
    """Compile a program in a box.

    Args:
        sandbox: Makes the box.
        program: Of the language "cpp".

    Returns:
        What runs it, or why it does not compile.

    Raises:
        ValueError: If the machine has no compiler.
    """
    command = (str(find_compiler()), *_OPTIONS)
    source = program.source.encode("utf-8", "surrogatepass")
    task = Task({**program.files, "main.cpp": source}, (), command, _TOOLCHAIN, fork_allowed=True, collect="a.out")
    with sandbox.box(task, _LIMITS) as box:
        outcome = box.run()
    if outcome.status is Status.BOX_FAILED:
        return outcome
    if outcome.status is not Status.OK or not outcome.stdout:
        return Outcome(Status.NOT_COMPILED, stderr=outcome.stderr or f"the compiler was {outcome.status}")
    return Task({**program.files, "main": outcome.stdout}, program.packages, ("./main",))
