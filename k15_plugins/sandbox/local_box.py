"""A box on this machine: a folder and a server for one program, and the judgement of what the server tells."""

import contextlib
import dataclasses
import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from k15_plugins.sandbox.inside import result, scratch
from k15_plugins.sandbox.outcome import Outcome, Status
from k15_plugins.sandbox.process import BoxDied, Result, ServerProcess
from k15_plugins.sandbox.program import Limits, wall_seconds
from k15_plugins.sandbox.task import Task

if TYPE_CHECKING:
    from k15_plugins.sandbox.local import LocalSandbox

_COMPILE_SECONDS = 60.0
_ENDINGS = {
    result.ENDED_BY_CLOCK: "its time by the clock was up",
    result.ENDED_BY_FILES: "it wrote more than it may",
    result.ENDED_BY_THREADS: "it had more threads than it may",
}
_ASLEEP = 0.01
"""What had less of the processor than this share of its time by the clock was asleep, not kept waiting."""


class NotCompiledBox:
    """Stands for a program that cannot run; a context manager."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self, stdin: bytes = b"", *, arguments: Sequence[str] = (), files: Mapping[str, bytes] | None = None
    ) -> Outcome:
        """Return why it cannot."""
        return self._outcome


class LocalBox:
    """A box for one program; a context manager, for one thread at a time."""

    def __init__(self, sandbox: "LocalSandbox", task: Task, limits: Limits) -> None:
        _check_names(task.files)
        self._sandbox = sandbox
        self._task = task
        self._limits = limits
        self._wall_seconds = wall_seconds(limits)
        self._server: ServerProcess | None = None
        self._not_compiled: Outcome | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="k15-box-")))
            self._folder.chmod(0o711)
            files = self._folder / "files"
            for folder, mode in ((files, 0o755), (self._folder / "scratch", 0o700)):
                folder.mkdir()
                folder.chmod(mode)
            for name, content in self._task.files.items():
                (files / name).write_bytes(content)
                (files / name).chmod(0o555)
            # A program's folder may be too deep for what removes folders otherwise.
            stack.callback(scratch.empty, str(self._folder / "scratch"))
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(
        self, stdin: bytes = b"", *, arguments: Sequence[str] = (), files: Mapping[str, bytes] | None = None
    ) -> Outcome:
        """Run the program once; see `Box.run`.

        Args:
            stdin: Its standard input.
            arguments: Its command line after its own name.
            files: Files that it finds in its working directory beside the program's, by name.

        Raises:
            ValueError: If a file's name is not one, or the files are larger than what a run may write.
        """
        files = {name: bytes(content) for name, content in (files or {}).items()}
        _check_names(files)
        size = sum(map(len, files.values()))
        if size > self._limits.scratch_bytes:
            raise ValueError(
                f"files must hold at most {self._limits.scratch_bytes} bytes, got {size}; set scratch_bytes."
            )
        message = (bytes(stdin), list(arguments), files)
        outcome = self._ask(message)
        if outcome.status is Status.TIMEOUT and self._was_kept_waiting(outcome):
            with _one_at_a_time():
                outcome = self._ask(message)
        return outcome

    def _was_kept_waiting(self, outcome: Outcome) -> bool:
        wall = outcome.wall_seconds
        return wall >= self._wall_seconds and _ASLEEP * wall < outcome.cpu_seconds <= self._limits.cpu_seconds

    def _ask(self, message: tuple[Any, ...]) -> Outcome:
        """Ask the server, and a fresh one if it dies; if that dies too and others do not, blame the program."""
        words = ""
        for _ in range(2):
            try:
                if self._server is None and self._not_compiled is None:
                    self._start()
                if self._not_compiled is not None:
                    return self._not_compiled
                assert self._server is not None
                return self._judge(self._server.ask(message, self._wall_seconds))
            except (BoxDied, OSError) as error:
                self._stop()
                words = str(error)
        if problem := self._sandbox.problem() if self._sandbox.blames else words:
            return Outcome(Status.BOX_FAILED, stderr=problem)
        return Outcome(Status.KILLED, stderr=f"it ended its box twice: {words}")

    def _start(self) -> None:
        """Start a server and let it compile the program."""
        scratch.empty(str(self._folder / "scratch"))  # what a run has left whose server has died
        command, surroundings = self._sandbox.launch(self._folder, self._task, self._limits)
        limits, task = dataclasses.asdict(self._limits), self._task
        job = {
            **limits,
            **surroundings,
            "wall_seconds": self._wall_seconds,
            "command": [part.replace("./", f"{surroundings['shared']}/", 1) for part in task.command],
            "fork_allowed": task.fork_allowed,
            "collect": task.collect,
            "machine": self._sandbox.machine,
        }
        environment = self._sandbox.environment(surroundings["scratch"])
        most_threads = limits["threads"] if self._sandbox.watches_threads else None
        self._server = ServerProcess(command, environment, max(limits["output_bytes"], 4096), most_threads)
        compiled = self._server.ask(job, _COMPILE_SECONDS)
        if compiled.wait_status != 0 or compiled.ended_by:
            words = compiled.stderr.decode("utf-8", "replace") or "compiling it took more than it may take"
            self._not_compiled = Outcome(Status.NOT_COMPILED, stderr=words)
            self._stop()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _judge(self, facts: Result) -> Outcome:
        """Return what a run came to."""
        exit_code = os.WEXITSTATUS(facts.wait_status) if os.WIFEXITED(facts.wait_status) else None
        number = os.WTERMSIG(facts.wait_status) if exit_code is None else 0
        if facts.cpu_seconds > self._limits.cpu_seconds or number == signal.SIGXCPU:
            status, words = Status.TIMEOUT, "its processor time was up"
        elif facts.ended_by:
            status = Status.TIMEOUT if facts.ended_by == result.ENDED_BY_CLOCK else Status.KILLED
            words = _ENDINGS[facts.ended_by]
        elif number:
            status, words = Status.KILLED, f"signal {number}, {signal.strsignal(number)}"
        else:
            status, words = (Status.FAILED if exit_code else Status.OK), ""
        stderr = facts.stderr.decode("utf-8", "replace") + (f"\n[ended: {words}]" if words else "")
        return Outcome(
            status,
            facts.stdout,
            stderr,
            exit_code if status in (Status.OK, Status.FAILED) else None,
            facts.cpu_seconds,
            facts.wall_seconds,
            facts.memory_bytes,
        )


def _check_names(files: Mapping[str, bytes]) -> None:
    for name in files:
        if name in ("", ".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
            raise ValueError(f"files must have plain names, got {name!r}; put no folders into it.")


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let one process of this user at a time into what follows."""
    path = Path(tempfile.gettempdir()) / f"k15-sandbox-{os.geteuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
