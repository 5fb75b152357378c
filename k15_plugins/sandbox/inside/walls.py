"""What a fork puts around itself before it runs a program. Each wall raises OSError if it cannot be put up."""

import ctypes
import os
import resource
import signal
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = (
    1,
    4,
    22,
    24,
    38,
)  # linux/prctl.h
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # landlock; one number on all machines
# linux/landlock.h
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 10, 1 << 11
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OPEN_FILES, _TIMERS = 64, 256


def set_dumpable(dumpable: bool) -> None:
    """Let processes of the same user read this one's memory and files, or not."""
    _check(_LIBC.prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0), "prctl")


def die_with(parent: int) -> None:
    """End this process when its parent ends; to be called after the last change of user, which undoes it.

    Args:
        parent: Its number.
    """
    _check(_LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl")
    if os.getppid() != parent:
        raise ProcessLookupError("the server has ended")


def reset_signals() -> None:
    """Give each signal what it does in a fresh process; Python ignores the ones for too much output."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def limit(*, cpu_seconds: int, memory_bytes: int, file_bytes: int, threads: int | None, stack_bytes: int) -> None:
    """Set the kernel's limits of this process.

    Args:
        cpu_seconds: Processor time; a second more kills even who ignores the warning.
        memory_bytes: Addresses, which bound what a process can hold.
        file_bytes: Size of each file that it writes, its output included.
        threads: Of the user; None where others of the same user would be counted.
        stack_bytes: Of the first thread, and of each thread of a program that is a file; a program may ask for more.
    """
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        (resource.RLIMIT_SIGPENDING, _TIMERS, _TIMERS),
        (resource.RLIMIT_STACK, min(memory_bytes, stack_bytes), resource.RLIM_INFINITY),
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
        *([] if threads is None else [(resource.RLIMIT_NPROC, threads, threads)]),
    ):
        highest = resource.getrlimit(kind)[1]
        if highest != resource.RLIM_INFINITY:
            soft = min(soft, highest)
            hard = highest if hard == resource.RLIM_INFINITY else min(hard, highest)
        resource.setrlimit(kind, (soft, hard))


def landlock_version() -> int:
    """Return the version of Landlock that the kernel offers; 0 if it has none or has it off."""
    return max(0, _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def restrict_files(readable: list[str], executable: list[str], writable: list[str]) -> None:
    """Leave nothing of the file system but these paths, by Landlock.

    Args:
        readable: Files and folders; what is not there is left out.
        executable: The same, also to run.
        writable: Folders for all that makes plain files and folders, and devices to write to.
    """
    version = landlock_version()
    handled = (1 << 13) - 1
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        handled |= right if version >= since else 0
    # Network from version 4 on, signals and abstract sockets from version 6 on: seccomp denies them too.
    attributes = struct.pack("=QQQ", handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _check(_LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0), "landlock_create_ruleset")
    read = _READ_FILE | _READ_DIR
    special = _EXECUTE | _MAKE_CHAR | _MAKE_SOCK | _MAKE_FIFO | _MAKE_BLOCK | _IOCTL_DEV
    for paths, rights in ((readable, read), (executable, read | _EXECUTE), (writable, handled & ~special)):
        for path in paths:
            if os.path.exists(path):
                _add_rule(rules, path, rights & handled)
    _check(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _check(_LIBC.syscall(_RESTRICT_SELF, rules, 0), "landlock_restrict_self")
    os.close(rules)


def _add_rule(rules: int, path: str, rights: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):
        rights &= _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
    rule = struct.pack("=Qi", rights, folder)
    _check(_LIBC.syscall(_ADD_RULE, rules, 1, rule, 0), "landlock_add_rule")
    os.close(folder)


def stop_being_root(uid: int) -> None:
    """Become an ordinary user who owns nothing, for good.

    Args:
        uid: The user's and the group's number.
    """
    for capability in range(64):
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails where the kernel has fewer
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def filter_calls(code: bytes) -> None:
    """Let the kernel refuse system calls.

    Args:
        code: The filter, from `seccomp.build`.
    """
    steps = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(steps))
    _check(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _check(_LIBC.prctl(_PR_SET_SECCOMP, 2, program, 0, 0), "seccomp")


def _check(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result
