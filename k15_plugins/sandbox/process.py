"""The process that serves a box, and what is said to it."""

import marshal
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from k15_plugins.sandbox.inside.result import RESULT
from k15_plugins.sandbox.thread_watch import end_crowds

_START_SECONDS = 60.0
_WATCH_SECONDS = 0.05
_LAUNCHER_WORDS = 2000


class BoxDied(RuntimeError):
    """The server has ended, or says what it cannot say; with the launcher's last words."""


class Result(NamedTuple):
    """What the server tells of a run: facts about the process, and untrusted bytes."""

    wait_status: int
    ended_by: int
    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int
    stdout: bytes
    stderr: bytes


class ServerProcess:
    """A running server."""

    def __init__(
        self, command: Sequence[str], environment: dict[str, str], most_bytes: int, most_threads: int | None
    ) -> None:
        """Start it.

        Args:
            command: The launcher and the server; the number of its descriptor comes last.
            environment: All that it sees.
            most_bytes: Longest output that is taken from it.
            most_threads: What a process in it may have, where the kernel does not see to that; else None.
        """
        self._most_bytes = most_bytes
        self._most_threads = most_threads
        self._socket, far_end = socket.socketpair()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        # A file, because a pipe that nobody reads would stop who writes to it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        with far_end:
            self._process = subprocess.Popen(
                [*command, str(far_end.fileno())],
                pass_fds=[far_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=environment,
                start_new_session=True,  # Ctrl-C is for who started it, and its socket then closes
            )

    def ask(self, message: Any, wait_seconds: float = 0.0) -> Result:
        """Send a message and return the answer.

        Args:
            message: What `marshal` knows.
            wait_seconds: How long the answer may take, beside what a busy machine may need.

        Raises:
            BoxDied: If no answer comes, or none that can be.
        """
        deadline = time.monotonic() + wait_seconds + _START_SECONDS
        content = marshal.dumps(message, 2)
        try:
            self._socket.settimeout(_START_SECONDS)
            self._socket.sendall(len(content).to_bytes(8, "little") + content)
            status, ended_by, cpu, wall, memory, *sizes = RESULT.unpack(self._receive(RESULT.size, deadline))
            if max(sizes) > self._most_bytes:
                raise BoxDied("the box announced more output than it may have")
            stdout, stderr = (self._receive(size, deadline) for size in sizes)
            return Result(status, ended_by, cpu, wall, memory, stdout, stderr)
        except OSError as error:
            raise BoxDied(f"{self._last_words()} ({error})") from error

    def _receive(self, size: int, deadline: float) -> bytes:
        content = bytearray()
        while len(content) < size:
            self._wait_for_answer(deadline)
            part = self._socket.recv(min(size - len(content), 2**20))
            if not part:
                raise BoxDied(self._last_words())
            content += part
        return bytes(content)

    def _wait_for_answer(self, deadline: float) -> None:
        while (left := deadline - time.monotonic()) > 0:
            if self._poll.poll(1000 * (left if self._most_threads is None else min(left, _WATCH_SECONDS))):
                return
            if self._most_threads is not None:
                end_crowds(self._process.pid, self._most_threads)
        raise BoxDied("the box did not answer in time")

    def _last_words(self) -> str:
        """Return what the launcher and the server have written, and how they ended."""
        try:
            code = self._process.wait(1.0)
            ending = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        except subprocess.TimeoutExpired:
            ending = "still running"
        end = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, end - _LAUNCHER_WORDS))
        return f"{self._errors.read().decode(errors='replace').strip() or 'no words'} [{ending}]"

    def close(self) -> None:
        """End it."""
        self._socket.close()
        if self._process.poll() is None:
            # All of its group: bubblewrap's child, as long as it is being set up, would wait for its parent for ever.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._errors.close()
