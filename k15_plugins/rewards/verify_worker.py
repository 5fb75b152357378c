"""The process in which verifiers run: it loads one function, calls it sample by sample, and sends each outcome back.

It is started by `rewards.verify` and imports only the standard library and what the function needs.
"""

import contextlib
import faulthandler
import logging
import os
import pkgutil
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

# An answer such as 10**10**10 must run out of memory here before the machine does.
_MEMORY_BYTES = 8 * 2**30


def serve(connection: Connection, target: str, timeout_seconds: float) -> None:
    """Answer batches of samples until the parent closes the connection.

    Args:
        connection (`Connection`): Both ways: a list of argument tuples in; "" when it has arrived, then for each one,
            in order, its score as a `float` or a `str` that says what went wrong, out. The first message out is "" or
            says why the function cannot be loaded.
        target (`str`): The function as "module:name".
        timeout_seconds (`float`): Time limit of a sample.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's business
    logging.disable(logging.WARNING)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses the limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    try:
        function = pkgutil.resolve_name(target)
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return
    connection.send("")
    with open(os.devnull, "w") as nowhere, contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            samples = connection.recv()
            connection.send("")
            for arguments in samples:
                # The parent kills a process that hangs. Should the parent be gone, this watchdog does: it needs
                # neither the interpreter's lock nor signals.
                faulthandler.dump_traceback_later(2 * timeout_seconds + 1, exit=True, file=nowhere)
                connection.send(_outcome(function, arguments))
                faulthandler.cancel_dump_traceback_later()


def _outcome(function: Callable[..., float], arguments: tuple[Any, ...]) -> float | str:
    try:
        return float(function(*arguments))
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"[:500]
