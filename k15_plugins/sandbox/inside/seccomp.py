"""The system calls that a program may make, as a filter for the kernel.

A list of what is allowed, so that a call which a later kernel adds is denied without anybody having thought of it.
The filter is put together here, by hand, because no library for it is everywhere.
"""

import struct

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""By `os.uname().machine`: the column of the table below and the kernel's AUDIT_ARCH number."""

# fmt: off
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # reading and writing what is open
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "preadv": (295, 69), "pwritev": (296, 70), "preadv2": (327, 286), "pwritev2": (328, 287),
    "lseek": (8, 62), "close": (3, 57), "close_range": (436, 436), "dup": (32, 23), "dup2": (33, None),
    "dup3": (292, 24), "pipe": (22, None), "pipe2": (293, 59),
    # files and folders
    "open": (2, None), "openat": (257, 56), "creat": (85, None), "stat": (4, None), "fstat": (5, 80),
    "lstat": (6, None), "newfstatat": (262, None), "statx": (332, 291), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78), "getdents": (78, None),
    "getdents64": (217, 61), "statfs": (137, 43), "fstatfs": (138, 44), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50),
    # extended attributes, to read
    "getxattr": (191, 8), "lgetxattr": (192, 9), "fgetxattr": (193, 10), "listxattr": (194, 11),
    "llistxattr": (195, 12), "flistxattr": (196, 13),
    # folders and files, to make and remove
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "unlink": (87, None), "unlinkat": (263, 35),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "ftruncate": (77, 46), "fsync": (74, 82), "fdatasync": (75, 83),
    "fadvise64": (221, 223), "flock": (73, 32), "umask": (95, 166), "sendfile": (40, 71),
    "copy_file_range": (326, 285),
    # memory
    "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226), "brk": (12, 214),
    "madvise": (28, 233), "msync": (26, 227), "mincore": (27, 232), "membarrier": (324, 283),
    "get_mempolicy": (239, 236),
    # waiting
    "select": (23, None), "pselect6": (270, 72), "poll": (7, None), "ppoll": (271, 73), "epoll_create": (213, None),
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22),
    "epoll_pwait2": (441, 441), "eventfd": (284, None), "eventfd2": (290, 19), "timerfd_create": (283, 85),
    "timerfd_settime": (286, 86), "timerfd_gettime": (287, 87), "signalfd4": (289, 74),
    # threads
    "futex": (202, 98), "futex_waitv": (449, 449), "set_robust_list": (273, 99), "rseq": (334, 293),
    "set_tid_address": (218, 96), "arch_prctl": (158, None), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126), "sched_getattr": (315, 275), "getpriority": (140, 141), "getcpu": (309, 168),
    # signals and timers
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "pause": (34, None),
    "alarm": (37, None), "setitimer": (38, 103), "getitimer": (36, 102), "timer_create": (222, 107),
    "timer_settime": (223, 110), "timer_gettime": (224, 108), "timer_getoverrun": (225, 109),
    "timer_delete": (226, 111), "restart_syscall": (219, 128),
    # time and the machine
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getrusage": (98, 165),
    "getrlimit": (97, 163), "sysinfo": (99, 179), "uname": (63, 160), "getrandom": (318, 278),
    # who am I, and the end
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getgroups": (115, 158), "getresuid": (118, 148),
    "getresgid": (120, 150), "getpgrp": (111, None), "getpgid": (121, 155), "getsid": (124, 156), "wait4": (61, 260),
    "waitid": (247, 95), "exit": (60, 93), "exit_group": (231, 94),
    "fcntl": (72, 25), "ioctl": (16, 29), "prctl": (157, 167), "clone": (56, 220), "clone3": (435, 435),
    "kill": (62, 129), "tgkill": (234, 131), "prlimit64": (302, 261),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "utime": (132, None),
    "utimes": (235, None), "utimensat": (280, 88), "futimesat": (261, None), "truncate": (76, 45),
    "fallocate": (285, 47),
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
}
# fmt: on
"""Calls by name, with their numbers on x86-64 and aarch64; None where the machine has no such call."""

_OWN = ("kill", "tgkill", "prlimit64")
"""Allowed for the process itself only."""
_CHECKED = {"fcntl", "ioctl", "prctl", "clone", "clone3", *_OWN}
"""Allowed for some arguments only."""
_ATTRIBUTES = {"chmod", "fchmod", "fchmodat", "fchmodat2", "utime", "utimes", "utimensat", "futimesat"}
"""Landlock does not stop these on files outside; in a namespace nothing outside is there."""
_SPACE = {"truncate", "fallocate"}
"""The same for the first; the second takes room on a disk that nobody counts."""
_PROCESSES = {"fork", "vfork"}
_EXEC = {"execve", "execveat"}

# linux/fcntl.h: copies, flags and locks. Not F_SETOWN and F_SETSIG, which send any signal to any process of the user.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
# asm-generic/ioctls.h: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# linux/prctl.h: PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_VMA.
_PRCTL = (15, 16, 3, 0x53564D41)
_CLONE_THREAD = 0x10000
_MAP_SHARED_BITS, _MAP_ANONYMOUS = 0x1, 0x20

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # linux/seccomp.h
_EPERM, _ENOSYS = 1, 38
_FIRST_NEW_CALL = 424
"""Since Linux 5.1 a call has one number on all machines; libraries fall back where one of these is missing."""
_X32 = 0x40000000


class Filter:
    """The kernel's `struct sock_filter` one after the other, but for the steps that name the process."""

    def __init__(self, machine: str, head: bytes, rest: bytes) -> None:
        self._kill, self._tgkill, self._limit = (NUMBERS[name][MACHINES[machine][0]] for name in _OWN)
        self._head, self._rest = head, rest

    def of_process(self, pid: int) -> bytes:
        """Return the whole filter for a process, which may send signals to itself only."""
        own = [*_if_argument(self._kill, 0, (pid,)), *_if_argument(self._tgkill, 0, (pid,))]
        own += _if_argument(self._limit, 0, (0, pid))
        return b"".join((self._head, *own, self._rest))


def build(machine: str, *, exec_allowed: bool, fork_allowed: bool, namespaces: bool) -> Filter:
    """Return the filter; building it takes as long as a fork, so one serves all forks.

    Args:
        machine: As `os.uname().machine` names it.
        exec_allowed: For a program that is a file of its own.
        fork_allowed: For a compiler, which calls its parts.
        namespaces: Whether only the program's files are there. Otherwise calls are denied which reach files that
            Landlock does not guard, or take room that is not counted.

    Raises:
        KeyError: For a machine that is not in `MACHINES`.
    """
    column, architecture = MACHINES[machine]

    def number(name: str) -> int | None:
        return NUMBERS[name][column]

    denied = set(_CHECKED)
    if not namespaces:
        denied |= _ATTRIBUTES | _SPACE | {"mmap"}
    if not fork_allowed:
        denied |= _PROCESSES
    if not exec_allowed:
        denied |= _EXEC
    head = [
        _step(_LOAD, 4),
        _step(_EQUAL, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, 0),
        _step(_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, _KILL),
    ]
    code = _if_argument(number("fcntl"), 1, _FCNTL)
    code += _if_argument(number("ioctl"), 1, _IOCTL)
    code += _if_argument(number("prctl"), 0, _PRCTL)
    if fork_allowed:
        code += [_step(_EQUAL, number("clone"), 0, 1), _step(_RETURN, _ALLOW)]
    else:
        clone = [_step(_LOAD, _argument(0)), _step(_ANY_BIT, _CLONE_THREAD, 0, 1), _step(_RETURN, _ALLOW)]
        code += [_step(_EQUAL, number("clone"), 0, 4), *clone, _step(_RETURN, _ERROR | _EPERM)]
    if not namespaces:
        # A file in memory that others see could grow without a call that is counted.
        code += [
            _step(_EQUAL, number("mmap"), 0, 5),
            _step(_LOAD, _argument(3)),
            _step(_ANY_BIT, _MAP_ANONYMOUS, 2, 0),
            _step(_ANY_BIT, _MAP_SHARED_BITS, 0, 1),
            _step(_RETURN, _ERROR | _EPERM),
            _step(_RETURN, _ALLOW),
        ]
    allowed = {nr for name in NUMBERS if name not in denied and (nr := number(name)) is not None}
    for first, last in _ranges(allowed):
        code += [_step(_AT_LEAST, last + 1, 2, 0), _step(_AT_LEAST, first, 0, 1), _step(_RETURN, _ALLOW)]
    code += [
        _step(_AT_LEAST, _FIRST_NEW_CALL, 0, 1),
        _step(_RETURN, _ERROR | _ENOSYS),
        _step(_RETURN, _ERROR | _EPERM),
    ]
    return Filter(machine, b"".join(head), b"".join(code))


def _ranges(numbers: set[int]) -> list[tuple[int, int]]:
    """Return the first and last of each run of numbers without a gap; the kernel takes a short filter far sooner."""
    firsts = sorted(number for number in numbers if number - 1 not in numbers)
    lasts = sorted(number for number in numbers if number + 1 not in numbers)
    return list(zip(firsts, lasts, strict=True))


def _if_argument(nr: int | None, index: int, values: tuple[int, ...]) -> list[bytes]:
    """Return the steps that allow a call if its argument is one of the values."""
    tests = [part for value in values for part in (_step(_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW))]
    inner = [_step(_LOAD, _argument(index)), *tests, _step(_RETURN, _ERROR | _EPERM)]
    return [_step(_EQUAL, nr, 0, len(inner)), *inner]


def _argument(index: int) -> int:
    """Return where the lower half of an argument lies in `struct seccomp_data`; both machines are little-endian."""
    return 16 + 8 * index


def _step(code: int, value: int | None, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
