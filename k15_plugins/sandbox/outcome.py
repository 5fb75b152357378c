"""What a run of an untrusted program came to."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a run ended."""

    OK = "ok"
    """It ended by itself with exit code 0."""
    FAILED = "failed"
    """It ended by itself with another exit code, by an exception for example."""
    KILLED = "killed"
    """A signal ended it: a crash, a forbidden call, or more memory or output than allowed."""
    TIMEOUT = "timeout"
    """It used up its processor time or, much later, its time by the clock."""
    NOT_COMPILED = "not compiled"
    """It is no valid program of its language."""
    BOX_FAILED = "box failed"
    """The box itself ended or could not be made: nothing is known about the program."""


@dataclass(frozen=True)
class Outcome:
    """A program's answer to one input.

    Everything here comes from an untrusted program, `stdout` and `stderr` word by word.

    Attributes:
        status: How it ended.
        stdout: What it wrote, up to the limit.
        stderr: The end of its error output, or why it was not compiled, or why the box failed.
        exit_code: Its exit code; None if it did not end by itself.
        cpu_seconds: Processor time of the run.
        wall_seconds: Time by the clock.
        memory_bytes: Most memory that it held at once.
    """

    status: Status
    stdout: bytes = b""
    stderr: str = ""
    exit_code: int | None = None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    memory_bytes: int = 0
