import re
from pathlib import Path

import pytest

from k15_plugins.sandbox.inside.seccomp import MACHINES, NUMBERS, build

HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), re.compile(r"#define __NR_(\w+)\s+(\d+)")),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), re.compile(r"#define __NR(?:3264)?_(\w+)\s+(\d+)")),
}
# Newer than the headers of some distributions: since Linux 5.1 a new call has one number everywhere.
NEW = {"futex_waitv": 449, "fchmodat2": 452}


@pytest.mark.parametrize("machine", HEADERS)
def test_the_table_is_the_kernels(machine):
    header, define = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"no {header}: the kernel's headers are not installed")
    numbers = {name: int(number) for name, number in define.findall(header.read_text())}
    if machine == "aarch64":
        # The generic header also has what only 32-bit machines use, and leaves out what aarch64 has as an older call.
        numbers = {name: number for name, number in numbers.items() if not name.endswith("_time64")}
    column = MACHINES[machine][0]
    wrong = {
        name: (pair[column], numbers.get(name))
        for name, pair in NUMBERS.items()
        if pair[column] != numbers.get(name, NEW.get(name))
    }
    assert not wrong


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("exec_allowed", [False, True])
@pytest.mark.parametrize("fork_allowed", [False, True])
@pytest.mark.parametrize("namespaces", [False, True])
def test_what_the_filter_says(machine, exec_allowed, fork_allowed, namespaces):
    """The filter, run here as the kernel would, for each call with some arguments."""
    column, architecture = MACHINES[machine]
    whole = build(machine, exec_allowed=exec_allowed, fork_allowed=fork_allowed, namespaces=namespaces)
    code = whole.of_process(7)
    allow, deny, missing, kill = 0x7FFF0000, 0x50001, 0x50026, 0x80000000

    def ask(name, *arguments):
        number = NUMBERS[name][column] if isinstance(name, str) else name
        return None if number is None else run_filter(code, architecture, number, arguments)

    assert ask("read") == ask("openat") == ask("exit_group") == allow
    assert ask("execve") == ask("execveat") == (allow if exec_allowed else deny)
    assert ask("clone", 17) == (allow if fork_allowed else deny)
    assert ask("fork") in (None, allow if fork_allowed else deny)
    assert ask("clone", 0x10000) == allow
    assert ask("clone3") == missing
    assert ask("kill", 7) == ask("tgkill", 7) == ask("prlimit64", 0) == ask("prlimit64", 7) == allow
    assert ask("kill", 8) == ask("kill", 2**32 - 1) == ask("tgkill", 8) == ask("prlimit64", 8) == deny
    assert ask("fcntl", 0, 4) == ask("ioctl", 0, 0x5401) == ask("prctl", 15) == allow
    assert ask("fcntl", 0, 8) == ask("fcntl", 0, 10) == ask("ioctl", 0, 0x5412) == ask("prctl", 22) == deny
    guarded = allow if namespaces else deny
    assert ask("fchmodat") == ask("truncate") == ask("fallocate") == guarded
    assert ask("mmap", 0, 0, 0, 1) == guarded  # shared with a file
    assert ask("mmap", 0, 0, 0, 2) == ask("mmap", 0, 0, 0, 0x21) == allow
    assert ask({"x86_64": 41, "aarch64": 198}[machine]) == deny  # socket
    assert ask(425) == ask(500) == missing  # io_uring_setup, and a call of the future
    assert ask(0x40000000 | 39) == kill
    assert run_filter(code, 0x40000003, 1, ()) == kill  # the calls of 32 bits


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("exec_allowed", [False, True])
@pytest.mark.parametrize("fork_allowed", [False, True])
@pytest.mark.parametrize("namespaces", [False, True])
def test_no_call_is_allowed_that_the_table_does_not_name(machine, exec_allowed, fork_allowed, namespaces):
    column, architecture = MACHINES[machine]
    whole = build(machine, exec_allowed=exec_allowed, fork_allowed=fork_allowed, namespaces=namespaces)
    named = {pair[column] for pair in NUMBERS.values()}
    arguments = [(0,) * 6, (1,) * 6, (7,) * 6, (0x10000,) * 6, (0x20,) * 6]
    for number in range(600):
        answers = {run_filter(whole.of_process(7), architecture, number, each) for each in arguments}
        assert (0x7FFF0000 in answers) <= (number in named), number
    plain = {"read", "write", "openat", "close", "brk", "futex", "exit_group", "getrandom", "wait4", "statx"}
    for name in plain:
        assert run_filter(whole.of_process(7), architecture, NUMBERS[name][column], (1,) * 6) == 0x7FFF0000


def run_filter(code, architecture, number, arguments):
    """Interpret a filter of the few kinds of steps that there are."""
    steps = [code[start : start + 8] for start in range(0, len(code), 8)]
    words = {0: number, 4: architecture} | {16 + 8 * n: value for n, value in enumerate((*arguments, 0, 0, 0, 0))}
    value, place = 0, 0
    while True:
        kind = int.from_bytes(steps[place][:2], "little")
        if_true, if_false, operand = steps[place][2], steps[place][3], int.from_bytes(steps[place][4:], "little")
        if kind == 0x06:
            return operand
        if kind == 0x20:
            value = words[operand]
            place += 1
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[kind]
            place += 1 + (if_true if holds else if_false)
