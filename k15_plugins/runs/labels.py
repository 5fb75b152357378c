"""Lines of several jobs on one terminal: each begins with the number of its job, and none is torn by another's."""

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

COLUMNS = 80


@contextmanager
def labelled(label: str) -> Iterator[tuple[int | None, int | None]]:
    """Give the streams of a process that is started meanwhile; all that it and its own children write is labelled.

    Args:
        label: What stands before every line; with none, the streams are this process's own.

    Yields:
        `stdout` and `stderr` for `subprocess.Popen`.
    """
    if not label:
        yield None, None
        return
    streams, threads = [], []
    for into in (1, 2):
        from_job, stream = os.pipe()
        streams.append(stream)
        threads.append(threading.Thread(target=_copy, args=(from_job, into, label.encode()), daemon=True))
        threads[-1].start()
    try:
        yield streams[0], streams[1]
    finally:
        for stream in streams:
            os.close(stream)
        for thread in threads:
            thread.join(timeout=5)  # a process that outlives its job may hold the stream


def _copy(from_job: int, into: int, label: bytes) -> None:
    with os.fdopen(from_job, "rb") as stream:
        for line in stream:
            # Of a bar that was drawn over itself, its last state.
            text = line.rstrip(b"\r\n").rpartition(b"\r")[2]
            # One write: short ones of several processes do not mix.
            os.write(into, label + text + b"\n")


def say(text: str, label: str = "", error: bool = False) -> None:
    """Print a sentence of the command line itself.

    Args:
        text: The sentence.
        label: What stands before it.
        error: Whether it goes to standard error.
    """
    print(f"{label}k15: {text}", file=sys.stderr if error else sys.stdout, flush=True)


def show_any_text() -> None:
    """Let a terminal or log that is not UTF-8 show a question mark for what it has no letter for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
