"""What every sandbox offers: a box for one program, which answers many inputs."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from k15_plugins.sandbox.outcome import Outcome
from k15_plugins.sandbox.program import Limits, Program


class SandboxUnavailable(RuntimeError):
    """This machine, or the server, does not give the isolation that was asked for."""


class Box(Protocol):
    """A program in its isolation; what it does in one run is not there for the next."""

    def run(
        self, stdin: bytes = b"", *, arguments: Sequence[str] = (), files: Mapping[str, bytes] | None = None
    ) -> Outcome:
        """Run the program once.

        Args:
            stdin: Its standard input.
            arguments: Its command line after its own name.
            files: Files that it finds in its working directory beside the program's, by name.

        Returns:
            What it came to; never raises for what the program does.
        """
        ...


class Sandbox(Protocol):
    """A way to run untrusted programs.

    Made once, in `__init__`, with a canary that must run and one that must fail; `SandboxUnavailable` says in the
    launcher's own words why there is no isolation, and the cure. Pickles: a copy works in another process.
    """

    def open(self, program: Program, limits: Limits = Limits()) -> AbstractContextManager[Box]:  # noqa: B008
        """Make a box for a program, to be used in a `with` statement.

        A program that does not compile gets a box all of whose runs are `Status.NOT_COMPILED`.

        Args:
            program: What runs in it.
            limits: Of each run.

        Raises:
            ValueError: If the language is not one of this sandbox.
        """
        ...
