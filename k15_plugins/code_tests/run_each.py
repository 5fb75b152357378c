"""A program run on several inputs, in one box."""

from collections.abc import Iterable, Iterator
from typing import Any

from k15_plugins.sandbox import Limits, Outcome, Program, Sandbox, SandboxUnavailable, Status


def run_each(sandbox: Sandbox, program: Program, limits: Limits, calls: Iterable[dict[str, Any]]) -> Iterator[Outcome]:
    """Run a program once for each call.

    Args:
        sandbox: Runs it.
        program: What is run.
        limits: Of each run.
        calls: Arguments of `Box.run`.

    Yields:
        The outcome of each call.

    Raises:
        SandboxUnavailable: If a box fails, which says nothing about the program.
    """
    with sandbox.open(program, limits) as box:
        for call in calls:
            outcome = box.run(**call)
            if outcome.status is Status.BOX_FAILED:
                raise SandboxUnavailable(outcome.stderr)
            yield outcome


def last_line(stderr: str) -> str:
    """Return the last line of an error output, which names the exception.

    Args:
        stderr: The error output.
    """
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""
