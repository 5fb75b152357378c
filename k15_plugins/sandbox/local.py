"""What the sandboxes on this machine share: `BwrapSandbox` and `LandlockSandbox` say how a server is walled in."""

import copy
import os
import platform
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from k15_plugins.sandbox.box import SandboxUnavailable
from k15_plugins.sandbox.canary import check_canaries
from k15_plugins.sandbox.compile_cpp import compile_cpp
from k15_plugins.sandbox.inside import server  # noqa: F401  # so that Python keeps it compiled for the boxes
from k15_plugins.sandbox.inside.seccomp import MACHINES
from k15_plugins.sandbox.interpreter import find_interpreter, open_to_all
from k15_plugins.sandbox.local_box import LocalBox, NotCompiledBox
from k15_plugins.sandbox.outcome import Outcome
from k15_plugins.sandbox.program import Limits, Program
from k15_plugins.sandbox.task import Task

INSIDE = Path(__file__).parent / "inside"
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


class LocalSandbox(ABC):
    """Boxes on this machine, each a process; see `Sandbox`."""

    cure = ""
    """What to do if it does not work, as the second half of a sentence."""
    drops_root = False
    """Whether root's programs run as another user."""
    watches_threads = False
    """Whether threads are counted from outside."""
    blames = False
    """Whether a program whose boxes die is looked at: is it to blame, or do all boxes die?"""

    def __init__(self) -> None:
        """See that this machine isolates.

        Raises:
            SandboxUnavailable: If it does not, in the launcher's own words, with the cure.
        """
        self.machine = platform.machine()
        if sys.platform != "linux" or self.machine not in MACHINES:
            raise SandboxUnavailable(
                f"{type(self).__name__} needs Linux on {' or '.join(MACHINES)}, got {sys.platform} on {self.machine}; "
                "use HttpSandbox with a server on such a machine"
            )
        self.interpreter = find_interpreter(readable_by_others=self._drops_root())
        check_canaries(self, self.cure)
        self.blames = True

    def open(self, program: Program, limits: Limits = Limits()) -> AbstractContextManager[LocalBox | NotCompiledBox]:  # noqa: B008
        """Make a box for a program; see `Sandbox.open`.

        Args:
            program: What runs in it, "python" or, where the system has a compiler, "cpp".
            limits: Of each run.

        Raises:
            ValueError: If there is no such language here, or a file's name is not one.
        """
        if program.language == "cpp":
            task = compile_cpp(self, program)
            return NotCompiledBox(task) if isinstance(task, Outcome) else self.box(task, limits)
        if program.language != "python":
            raise ValueError(f"language must be python or cpp, got {program.language!r}; translate the program.")
        for path in program.packages:
            if not path.is_dir() or (self._drops_root() and not open_to_all(path.resolve())):
                readers = " that every user may read" if self._drops_root() else ""
                raise ValueError(f"packages must be folders{readers}, got {path}; correct it or run chmod -R go+rX.")
        source = program.source.encode("utf-8", "surrogatepass")
        return self.box(Task({**program.files, "main.py": source}, program.packages), limits)

    def box(self, task: Task, limits: Limits) -> LocalBox:
        """Make a box for what its server is to do."""
        return LocalBox(self, task, limits)

    def _drops_root(self) -> bool:
        return self.drops_root and os.geteuid() == 0

    def problem(self) -> str:
        """Return why boxes of harmless programs do not work at present; "" if they do."""
        probe = copy.copy(self)
        probe.blames = False
        try:
            check_canaries(probe, self.cure)
        except SandboxUnavailable as error:
            return str(error)
        return ""

    @abstractmethod
    def launch(self, folder: Path, task: Task, limits: Limits) -> tuple[list[str], dict[str, Any]]:
        """Return the command that starts a server in isolation, and what to tell it about its surroundings.

        Args:
            folder: The box's own, with the task's files in `files/` and an empty `scratch/`.
            task: What the server is to do.
            limits: Of each run.
        """

    def python(self, inside: str | Path) -> list[str]:
        """Return the command of the server; nothing of the environment or of the site is read."""
        return [str(self.interpreter), "-S", "-s", "-P", "-B", str(Path(inside) / "__main__.py")]

    def environment(self, scratch: str | Path) -> dict[str, str]:
        """Return all that a program finds in its environment."""
        return {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "PYTHONHASHSEED": "0",  # a program gives the same answer each time
            "LD_LIBRARY_PATH": str(self.interpreter.parent.parent / "lib"),
            "MALLOC_ARENA_MAX": "1",  # an arena a thread would use up the addresses that a program may have
            "OMP_NUM_THREADS": "1",
        }


def existing(paths: Iterable[str | Path]) -> list[str]:
    """Return those of some paths that are there."""
    return [str(path) for path in paths if os.path.exists(path)]
