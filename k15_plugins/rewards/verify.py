"""Guarded verification: a verifier that raises, hangs or dies costs its own sample only, never the run.

The verifier runs in a process of its own, so that a time limit can always be kept: math-verify's limits are signals,
which work in the main thread only, and nothing stops a C loop from within. That process forks for each sample, so that
an answer which takes over its interpreter takes it over for itself only. The process is a plain child and not one of
multiprocessing's, because those import the user's script again, which breaks every script without a main guard.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from k15_plugins.rewards.verify_worker import read_outcome

_START_SECONDS = 120.0
_LONGEST_SECONDS = 3600
# A sample may take this many times its limit by the clock, because a busy machine gives it a part of a processor only.
_WALL_FACTOR = 6.0
# -P keeps the working directory out of the path: a file math.py there must not be imported. The parent's own path
# follows.
_BOOTSTRAP = """
import json, sys
fd, path, *arguments = json.loads(sys.argv[1])
sys.path[:] = path
from multiprocessing.connection import Connection
from k15_plugins.rewards.verify_worker import serve
serve(Connection(fd), *arguments)
"""


class Verdicts(NamedTuple):
    """Outcome of a batch.

    Attributes:
        scores: One score a sample; 0.0 where the verifier failed.
        failures: Index of a failed sample -> what went wrong.
    """

    scores: list[float]
    failures: dict[int, str]


class GuardedVerifier:
    """Calls a function in a process of its own, in a fork for each sample, under a time limit.

    The process starts with the first batch, is started again after it has died or stopped answering, and ends with
    this one. Works in every thread; a pickled or forked copy starts its own process.

    A fork keeps one sample from another. It is no sandbox: an answer that the function runs as code may do what the
    trainer's user may.

    Args:
        target: The function as "module:name". It takes the values of a sample and returns a score. Only the
            process imports it. `rewards.verify_worker.serve` says how it prepares for its samples.
        timeout_seconds: Time limit of a sample in seconds of processor time, rounded up to whole ones; by
            the clock it may take six times as long.

    Raises:
        ValueError: If the time limit is no number above 0, or more than an hour.
    """

    def __init__(self, target: str, timeout_seconds: float = 5.0) -> None:
        if isinstance(timeout_seconds, bool) or not isinstance(timeout_seconds, int | float):
            raise ValueError(f"timeout_seconds={timeout_seconds!r} must be a number above 0; 5 is usual.")
        if not 0 < timeout_seconds <= _LONGEST_SECONDS:
            raise ValueError(
                f"timeout_seconds={timeout_seconds} must be above 0 and at most {_LONGEST_SECONDS}; 5 is usual."
            )
        self.target = target
        self.timeout_seconds = timeout_seconds
        self._worker: _Worker | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __reduce__(self) -> tuple[type["GuardedVerifier"], tuple[str, float]]:
        return GuardedVerifier, (self.target, self.timeout_seconds)

    def __call__(self, samples: Sequence[tuple[Any, ...]]) -> Verdicts:
        """Verify a batch; equal samples are verified once.

        Args:
            samples: Arguments of the function, one tuple a sample; they must be picklable and
                hashable.

        Returns:
            Scores and failures.

        Raises:
            RuntimeError: If the function cannot be loaded.
        """
        if self._pid != os.getpid():  # a fork: the process and the lock are the parent's
            self._worker, self._lock, self._pid = None, threading.Lock(), os.getpid()
        distinct = {sample: index for index, sample in enumerate(dict.fromkeys(samples))}
        with self._lock:
            scores, failures = self._verify(list(distinct))
        indices = [distinct[sample] for sample in samples]
        return Verdicts(
            [scores[index] for index in indices],
            {place: failures[index] for place, index in enumerate(indices) if index in failures},
        )

    def _verify(self, samples: list[tuple[Any, ...]]) -> Verdicts:
        scores: list[float] = []
        failures: dict[int, str] = {}
        while len(scores) < len(samples):
            is_new = self._worker is None or not self._worker.is_alive()
            if is_new:
                try:
                    self._worker = _Worker(self.target, self.timeout_seconds)
                except (RuntimeError, OSError) as error:
                    if self._worker is None:  # never ran: the function or the installation is wrong
                        raise
                    failures |= dict.fromkeys(range(len(scores), len(samples)), str(error))
                    return Verdicts(scores + [0.0] * (len(samples) - len(scores)), failures)
            assert self._worker is not None
            for outcome in self._worker.outcomes(samples[len(scores) :], is_new):
                if isinstance(outcome, str):
                    failures[len(scores)] = outcome
                scores.append(0.0 if isinstance(outcome, str) else outcome)
        return Verdicts(scores, failures)


class _Worker:
    """The running process and the connection to it."""

    def __init__(self, target: str, timeout_seconds: float) -> None:
        wall_seconds = _WALL_FACTOR * timeout_seconds
        self._patience_seconds = 2 * wall_seconds  # the process itself keeps the limits of its samples
        ours, theirs = socket.socketpair()
        # A process that has stopped reads nothing, and a large batch would wait for ever to be sent.
        whole, part = divmod(self._patience_seconds, 1)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(whole), int(part * 1e6)))
        with theirs:
            arguments = json.dumps([theirs.fileno(), list(map(str, sys.path)), target, timeout_seconds, wall_seconds])
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-c", _BOOTSTRAP, arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # One thread: verifiers share the machine with the trainer, and idle threads count as memory.
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        self._connection = Connection(ours.detach())
        self._stop = weakref.finalize(self, _stop, self._process, self._connection, os.getpid())
        problem = self._receive(_START_SECONDS)
        if problem != b"":
            self._stop()
            reason = read_outcome(problem) if problem else "it did not start"
            raise RuntimeError(
                f"the verifier {target!r} cannot be loaded in its process ({reason}); "
                "if a module is missing, run pip install '.[verifiers]' in a checkout of k15_plugins."
            )

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def outcomes(self, samples: list[tuple[Any, ...]], is_new: bool) -> Iterator[float | str]:
        """Yield a score or an error text for each sample, up to and including the first that ends the process.

        A process that has died or stopped answering since the last batch takes no sample: that shows here at the
        latest, and it yields nothing and is replaced. Where a new one does the same, it is the samples' doing.
        """
        took = self._send(samples) and self._receive(self._patience_seconds) is not None
        if not took:
            reason = self._give_up(self._what_happened())
            if is_new:
                yield reason
            return
        for _ in samples:
            outcome = self._receive(self._patience_seconds)
            if outcome is None:
                yield self._give_up(self._what_happened())
                return
            yield read_outcome(outcome)

    def _send(self, samples: list[tuple[Any, ...]]) -> bool:
        """Send a batch; False if the process does not read it in time or is dead."""
        try:
            self._connection.send(samples)
        except BlockingIOError:
            return False
        except OSError:
            self._process.wait(timeout=10)
            return False
        return True

    def _receive(self, timeout_seconds: float) -> bytes | None:
        """Wait for a message; None if there is none in time or the process is dead."""
        try:
            return self._connection.recv_bytes() if self._connection.poll(timeout_seconds) else None
        except (EOFError, OSError):
            self._process.wait(timeout=10)
            return None

    def _what_happened(self) -> str:
        code = self._process.poll()
        if code is None:
            return f"the process did not answer for {self._patience_seconds} s"
        return f"the process died with code {code}"

    def _give_up(self, reason: str) -> str:
        self._stop()
        return reason


def _stop(process: subprocess.Popen, connection: Connection, pid: int) -> None:
    connection.close()
    if os.getpid() == pid:  # a forked copy must not end its parent's process
        process.kill()
        process.wait()
