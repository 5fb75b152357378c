"""What a box's server is to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """A program as the server sees it.

    Attributes:
        files: What lies in the working directory, read-only; a Python program is its `main.py`.
        packages: Folders whose Python modules it may import.
        command: What is run: a path, with "./" for one of the files, and arguments; empty for a Python program.
        toolchain: Folders of the machine that the command needs beside the libraries.
        fork_allowed: Whether it may start processes, as a compiler does.
        collect: A file that it leaves, which then is its output; "" for none.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    packages: tuple[Path, ...] = ()
    command: tuple[str, ...] = ()
    toolchain: tuple[Path, ...] = ()
    fork_allowed: bool = False
    collect: str = ""
