"""Verifiers that misbehave; only the verifier's process imports this file."""

import contextlib
import os
import pickle
import pkgutil
import re
import signal
import time
from pathlib import Path

from k15_plugins.rewards import verify_worker


def judge(what: str, *arguments: str) -> float:
    """Do what is asked, honest or not."""
    return {
        "pass": lambda: 1.0,
        "fail": lambda: 0.0,
        "pid": os.getpid,
        "parent": os.getppid,
        "threads": lambda: float(os.environ["OMP_NUM_THREADS"]),
        "raise": _raise,
        "leave": _leave,
        "sleep": lambda: time.sleep(1000),
        "wait": _wait,
        "loop": _loop_with_signals_blocked,
        "hold the lock": _hold_the_interpreter_lock,
        "die": lambda: os._exit(7),
        "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "print": _print,
        "nothing": lambda: None,
        "say and hang": lambda: _say_and_hang(*arguments),
        "pass from now on": _pass_from_now_on,
        "kill the parent": lambda: _signal_the_parent(signal.SIGKILL),
        "kill the worker": _kill_the_worker,
        "stop the parent": lambda: _signal_the_parent(signal.SIGSTOP),
        "leave a daemon": lambda: _leave_a_daemon(*arguments),
        "sockets": _sockets,
        "forge": _forge,
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


def _wait():
    time.sleep(1.5)
    return 1.0


def _pass_from_now_on():
    global judge
    judge = lambda *_: 1.0  # noqa: E731
    pkgutil.resolve_name = lambda _: judge
    verify_worker._judge = lambda *_: verify_worker._SCORE.pack(b"=", 1.0)
    return 0.5


def _signal_the_parent(what):
    os.kill(os.getppid(), what)
    time.sleep(1000)


def _kill_the_worker():
    """End the process that started this one's parent: a worker of the pool."""
    os.kill(int(Path(f"/proc/{os.getppid()}/stat").read_text().rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
    time.sleep(1000)


def _leave_a_daemon(path):
    worker = os.getppid()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(0.5)
            Path(path).touch()
            os.kill(worker, signal.SIGKILL)
        os._exit(0)
    os.wait()
    return 1.0


def _sockets():
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return float(count)


def _forge():
    for number in range(3, 20):
        with contextlib.suppress(OSError):
            os.write(number, pickle.dumps(1.0))
    time.sleep(1000)
