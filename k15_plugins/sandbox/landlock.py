"""Boxes without namespaces: Landlock for files, seccomp for the rest, and no root."""

import os
import secrets
from pathlib import Path
from typing import Any

from k15_plugins.sandbox.box import SandboxUnavailable
from k15_plugins.sandbox.inside.walls import landlock_version
from k15_plugins.sandbox.interpreter import system_folders
from k15_plugins.sandbox.local import DEVICES, INSIDE, LocalSandbox, existing
from k15_plugins.sandbox.program import Limits
from k15_plugins.sandbox.task import Task

_USERS = range(20000, 60000)
"""Numbers of users that own nothing, and that are there in a container whose numbers are mapped."""


class LandlockSandbox(LocalSandbox):
    """Boxes where namespaces are not to be had, as in Docker: the kernel refuses files and system calls.

    Needs Linux 5.13 with Landlock on. Root's programs run as an ordinary user who owns nothing.
    """

    cure = "; start Linux with lsm=landlock,... or use BwrapSandbox or HttpSandbox"
    drops_root = True

    def __init__(self) -> None:
        """See that this machine isolates.

        Raises:
            SandboxUnavailable: If it does not, in the kernel's words, with the cure.
        """
        if landlock_version() < 1:
            raise SandboxUnavailable(f"LandlockSandbox needs Landlock, which this kernel does not offer{self.cure}")
        super().__init__()

    def launch(self, folder: Path, task: Task, limits: Limits) -> tuple[list[str], dict[str, Any]]:
        """Return the command of a server, which walls in its forks; see `LocalSandbox.launch`."""
        scratch, files = str(folder / "scratch"), str(folder / "files")
        uid = None
        if os.geteuid() == 0:
            uid = secrets.choice(_USERS)
            os.chown(scratch, uid, uid)
        packages = [str(path) for path in task.packages]
        libraries = existing([*system_folders(self.interpreter), "/lib", "/lib32", "/lib64"])
        runnable = [files, *libraries, *map(str, task.toolchain)] if task.command else []
        return self.python(INSIDE), {
            "scratch": scratch,
            "shared": files,
            "packages": packages,
            "namespaces": False,
            "landlock": {
                "readable": [*libraries, files, *packages, *DEVICES],
                "executable": runnable,
                "writable": [scratch, "/dev/null"],
            },
            "uid": uid,
            "count_threads": uid is not None,  # others of the same user would be counted
        }
