"""The process in which verifiers run: it loads one function and calls it in a fork for each sample.

A fork ends with its sample, so nothing that an answer does to its process is there for the next one, and the process
itself reads no answer. It is started by `rewards.verify` and imports only the standard library and what the function
needs.
"""

import contextlib
import ctypes
import gc
import logging
import math
import os
import pkgutil
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

# An answer such as 10**10**10 must run out of memory here before the machine does.
_MEMORY_BYTES = 8 * 2**30
_MESSAGE_BYTES = 4096
_SCORE = struct.Struct("=cd")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def serve(connection: Connection, target: str, timeout_seconds: float, wall_seconds: float) -> None:
    """Answer batches of samples until the parent closes the connection.

    Args:
        connection: Both ways: a list of argument tuples in; b"" when it has arrived, then for each one,
            in order, what `read_outcome` reads, out. The first message out is b"" or says why the function cannot be
            loaded.
        target: The function as "module:name". A function `prepare` beside it is called in this process before
            each fork, with the values of the sample but the first, which is the answer; what it loads or caches, all
            later forks find. It has the same time.
        timeout_seconds: Limit of a sample in seconds of processor time, rounded up to whole ones.
        wall_seconds: Limit of a sample in seconds by the clock.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's business
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGPROF, _stop_preparing)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses the limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    try:
        function = pkgutil.resolve_name(target)
        prepare = getattr(pkgutil.resolve_name(target.partition(":")[0]), "prepare", None)
    except Exception as error:
        connection.send_bytes(_failure(error))
        return
    connection.send_bytes(b"")
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            samples = connection.recv()
            connection.send_bytes(b"")
            for arguments in samples:
                if prepare is not None:
                    _prepare(prepare, arguments[1:], timeout_seconds)
                connection.send_bytes(_judge(function, arguments, connection, timeout_seconds, wall_seconds))


def _prepare(prepare: Callable[..., None], arguments: tuple[Any, ...], timeout_seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, timeout_seconds)
    try:
        prepare(*arguments)
    except Exception:  # the fork meets it too, and tells
        pass
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _stop_preparing(*_: Any) -> None:
    raise TimeoutError


def read_outcome(message: bytes) -> float | str:
    """Read the outcome of a sample.

    Args:
        message: What `serve` sent.

    Returns:
        The score, or what went wrong.
    """
    if message[:1] == b"=":
        return _SCORE.unpack(message)[1]
    return message[1:].decode(errors="replace")


def _judge(
    function: Callable[..., float],
    arguments: tuple[Any, ...],
    connection: Connection,
    timeout_seconds: float,
    wall_seconds: float,
) -> bytes:
    """Call the function in a fork, end the fork and all that it started, and return its outcome."""
    result, child_result = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _run(function, arguments, connection, child_result, math.ceil(timeout_seconds))
        finally:
            os._exit(1)
    os.close(child_result)
    try:
        ready = wait([result, connection], wall_seconds)
        message = os.read(result, _MESSAGE_BYTES) if result in ready else None
    finally:
        os.close(result)
        code, cpu_seconds = _end(child)
    if connection in ready:  # the parent asks for nothing in between: it is gone
        raise EOFError
    if message is None:
        return b"!" + f"time limit of {wall_seconds} s by the clock".encode()
    if message[:1] == b"!" or (message[:1] == b"=" and len(message) == _SCORE.size):
        return message
    if code == -signal.SIGKILL and cpu_seconds > 0.9 * math.ceil(timeout_seconds):
        return b"!" + f"time limit of {timeout_seconds} s".encode()
    return b"!" + f"the process died with code {code}".encode()


def _run(
    function: Callable[..., float], arguments: tuple[Any, ...], connection: Connection, result: int, cpu_seconds: int
) -> None:
    """Call the function and write its outcome; what the fork does."""
    connection.close()
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(ValueError):  # the machine's own limit is lower
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    gc.freeze()  # a collection of what was there before would copy all of it
    try:
        message = _SCORE.pack(b"=", float(function(*arguments)))
    except BaseException as error:
        message = _failure(error)
    os.write(result, message)


def _failure(error: BaseException) -> bytes:
    return b"!" + f"{type(error).__name__}: {error}"[:500].encode(errors="replace")


def _end(child: int) -> tuple[int, float]:
    """Kill a fork, its group and what left the group; return its exit code and its seconds of processor time."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has no group yet, or is dead
            kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    with contextlib.suppress(ChildProcessError):  # none left
        while True:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                for orphan in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                    os.kill(int(orphan), signal.SIGKILL)
                time.sleep(0.001)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
