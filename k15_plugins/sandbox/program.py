"""An untrusted program and the limits it runs under."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """Source text that nobody vouches for.

    Attributes:
        source: The text.
        language: "python" or "cpp".
        files: Files that it finds in its working directory, by name, read-only.
        packages: Folders with Python modules that it may import, read-only.
    """

    source: str
    language: str = "python"
    files: Mapping[str, bytes] = field(default_factory=dict)
    packages: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What one run of a program may use.

    Attributes:
        cpu_seconds: Processor time, which is what judges: a busy machine does not change it.
        wall_seconds: Time by the clock, the backstop for a program that sleeps; None for 2 * cpu_seconds + 10.
        memory_bytes: Memory that it holds.
        output_bytes: Standard output, and each file that it writes.
        scratch_bytes: All files that it writes, together.
        threads: Threads and processes together.
    """

    cpu_seconds: float = 10.0
    wall_seconds: float | None = None
    memory_bytes: int = 512 * 2**20
    output_bytes: int = 8 * 2**20
    scratch_bytes: int = 64 * 2**20
    threads: int = 64
