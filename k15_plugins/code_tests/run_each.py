"""A program run on several inputs, in one box as long as it holds."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from k15_plugins.code_tests.reasons import Dropped, Reason
from k15_plugins.sandbox import Limits, Outcome, Program, Sandbox, Status


def run_each(
    sandbox: Sandbox, program: Program, limits: Limits, calls: Iterable[dict[str, Any]]
) -> Iterator[Outcome]:
    """Run a program once for each call; a box that fails is replaced, once a call.

    Args:
        sandbox: Runs it.
        program: What is run.
        limits: Of each run.
        calls: Arguments of `Box.run`.

    Yields:
        The outcome of each call.

    Raises:
        Dropped: If a box fails, and the next one too: nothing is known about the program then.
    """
    with ExitStack() as boxes:
        box = boxes.enter_context(sandbox.open(program, limits))
        for call in calls:
            outcome = box.run(**call)
            if outcome.status is Status.BOX_FAILED:
                box = boxes.enter_context(sandbox.open(program, limits))
                outcome = box.run(**call)
            if outcome.status is Status.BOX_FAILED:
                raise Dropped(Reason.BOX_FAILED, last_line(outcome.stderr) or "it gives no reason")
            yield outcome


def last_line(stderr: str) -> str:
    """Return the last line of an error output, which names the exception.

    Args:
        stderr: The error output.
    """
    lines = [line for line in stderr.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""
