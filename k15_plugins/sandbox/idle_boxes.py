"""Boxes that wait for the next input of the same program, so that a server need not make one for each test."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from k15_plugins.sandbox.box import Box, Sandbox
from k15_plugins.sandbox.outcome import Status
from k15_plugins.sandbox.program import Limits, Program


class IdleBoxes:
    """Keeps boxes open after their use; no box ever serves two programs.

    Args:
        sandbox: Makes the boxes.
        kept: How many wait at most; the one that has waited longest is closed first.
    """

    def __init__(self, sandbox: Sandbox, kept: int) -> None:
        self._sandbox, self._kept = sandbox, kept
        self._idle: OrderedDict[int, tuple[Any, Box, ExitStack]] = OrderedDict()
        self._number = 0
        self._lock = threading.Lock()

    @contextmanager
    def use(self, program: Program, limits: Limits) -> Iterator["_Watched"]:
        """Hand out a box for a program: one that waits, or a new one.

        Args:
            program: What runs in it.
            limits: Of each run.
        """
        key = (program.source, program.language, tuple(sorted(program.files.items())), limits)
        with self._lock:
            waiting = next((number for number, (its, _, _) in self._idle.items() if its == key), None)
            found = None if waiting is None else self._idle.pop(waiting)
        if found is None:
            stack = ExitStack()
            box = stack.enter_context(self._sandbox.open(program, limits))
        else:
            _, box, stack = found
        watched = _Watched(box)
        try:
            yield watched
        except BaseException:
            stack.close()
            raise
        if watched.failed:
            stack.close()
            return
        with self._lock:
            self._number += 1
            self._idle[self._number] = (key, box, stack)
            old = [self._idle.popitem(last=False)[1][2] for _ in range(len(self._idle) - self._kept)]
        for each in old:
            each.close()

    def close(self) -> None:
        """Close all that wait."""
        with self._lock:
            stacks = [stack for _, _, stack in self._idle.values()]
            self._idle.clear()
        for stack in stacks:
            stack.close()


class _Watched:
    """A box of which it is known whether it has failed."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self.failed = False

    def run(self, stdin: bytes) -> Any:
        outcome = self._box.run(stdin)
        self.failed = outcome.status is Status.BOX_FAILED
        return outcome
