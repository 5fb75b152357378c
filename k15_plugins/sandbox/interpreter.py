"""Which Python runs untrusted programs, and which folders of the machine it needs."""

import os
import sys
from pathlib import Path

from k15_plugins.sandbox.box import SandboxUnavailable

_LIBRARIES = ("lib", "lib32", "lib64", "libexec")


def find_interpreter(*, readable_by_others: bool) -> Path:
    """Return this process's own Python without its virtual environment, else the system's of the same version.

    Args:
        readable_by_others: Whether an ordinary user must be able to read it: root's programs do not run as root.

    Raises:
        SandboxUnavailable: If there is none.
    """
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [Path(sys.base_prefix) / "bin" / name, Path("/usr/bin") / name, Path("/usr/local/bin") / name]
    for candidate in candidates:
        if candidate.exists() and (not readable_by_others or open_to_all(candidate.resolve())):
            return candidate.resolve()
    raise SandboxUnavailable(
        f"the sandbox needs a {name} that an ordinary user may read, found none at "
        f"{', '.join(map(str, candidates))}; install one, or open the folders above it with chmod o+rx"
    )


def system_folders(interpreter: Path) -> list[Path]:
    """Return the folders of libraries that an interpreter needs, as they are called on this machine.

    Args:
        interpreter: From `find_interpreter`.
    """
    prefixes = [Path("/usr"), interpreter.parent.parent]
    return [folder for prefix in dict.fromkeys(prefixes) for kind in _LIBRARIES if (folder := prefix / kind).is_dir()]


def open_to_all(path: Path) -> bool:
    """Return whether an ordinary user can read a file or folder.

    Args:
        path: Where it is, without links.
    """
    folders_open = all(folder.stat().st_mode & 0o001 for folder in path.parents)
    return folders_open and bool(os.stat(path).st_mode & 0o004)
