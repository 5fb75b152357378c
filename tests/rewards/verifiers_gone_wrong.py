"""Verifiers that misbehave; only the verifier's process imports this file."""

import os
import re
import signal
import time
from pathlib import Path


def judge(what: str, *arguments: str) -> float:
    """Do what is asked, honest or not."""
    return {
        "pass": lambda: 1.0,
        "fail": lambda: 0.0,
        "pid": os.getpid,
        "threads": lambda: float(os.environ["OMP_NUM_THREADS"]),
        "raise": _raise,
        "leave": _leave,
        "sleep": lambda: time.sleep(1000),
        "loop": _loop_with_signals_blocked,
        "hold the lock": _hold_the_interpreter_lock,
        "die": lambda: os._exit(7),
        "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "print": _print,
        "nothing": lambda: None,
        "say and hang": lambda: _say_and_hang(*arguments),
    }[what]()


def _raise():
    raise ArithmeticError("no such number")


def _leave():
    raise SystemExit(0)


def _loop_with_signals_blocked():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        pass


def _hold_the_interpreter_lock():
    return float(bool(re.match(r"(a+)+$", "a" * 60 + "b")))


def _print():
    print("not a message of the protocol", flush=True)
    os.write(1, b"nor is this\n")
    return 1.0


def _say_and_hang(path):
    Path(path).write_text(str(os.getpid()))
    _hold_the_interpreter_lock()
