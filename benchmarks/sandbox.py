"""What a box costs: tests a second of a plain process per test, and of boxes, with one and two programs at a time.

`python benchmarks/sandbox.py` prints the table and writes it to docs/results/sandbox.md. All ways run in turn, in
rounds, so that other work on the machine meets all of them.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from k15_plugins.sandbox import BwrapSandbox, LandlockSandbox, Program, Sandbox, Status
from k15_plugins.sandbox.interpreter import find_interpreter

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "sandbox.md"
PROGRAM = """import sys
from collections import Counter

def main():
    n, *numbers = map(int, sys.stdin.read().split())
    print(max(Counter(numbers).values()), sum(numbers[:n]))

main()
"""
STDIN = b"5 1 2 3 4 4"
ANSWER = b"2 14\n"


def plain(tests: int) -> None:
    """A process for each test, with no walls: the same Python, its site left out."""
    command = [str(find_interpreter(readable_by_others=False)), "-I", "-S", "-c", PROGRAM]
    for _ in range(tests):
        assert subprocess.run(command, input=STDIN, capture_output=True).stdout == ANSWER


def boxed(sandbox: Sandbox, tests_per_box: int) -> Callable[[int], None]:
    """A box for so many tests."""

    def run(tests: int) -> None:
        for _ in range(tests // tests_per_box):
            with sandbox.open(Program(PROGRAM)) as box:
                for _ in range(tests_per_box):
                    outcome = box.run(STDIN)
                    assert (outcome.status, outcome.stdout) == (Status.OK, ANSWER), outcome

    return run


def rate(way: Callable[[int], None], tests: int, workers: int, programs: int) -> float:
    """Return tests a second of some programs, so many at a time."""
    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(way, [tests] * programs))
    return tests * programs / (time.perf_counter() - start)


def main() -> None:
    """Time all ways and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=20, help="tests of a program")
    parser.add_argument("--programs", type=int, default=6, help="programs a measurement")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    bwrap, landlock = BwrapSandbox(), LandlockSandbox()
    ways: dict[str, Callable[[int], None]] = {
        "a plain process per test": plain,
        "bwrap, a box per test": boxed(bwrap, 1),
        "bwrap, a box per program": boxed(bwrap, arguments.tests),
        "landlock, a box per test": boxed(landlock, 1),
        "landlock, a box per program": boxed(landlock, arguments.tests),
    }
    load = os.getloadavg()[0]
    rates: dict[tuple[str, int], list[float]] = {(name, workers): [] for name in ways for workers in (1, 2)}
    for _ in range(arguments.rounds):
        for name, workers in rates:
            rates[name, workers].append(rate(ways[name], arguments.tests, workers, arguments.programs))
    lines = [
        "# What a sandbox costs",
        "",
        f"Tests a second of a small program: {arguments.programs} programs with {arguments.tests} tests each, "
        "one or two programs at a time. The ratio is to a plain process per test in the same round; median of "
        f"{arguments.rounds} rounds, and their range. {os.cpu_count()} cores, {platform.machine()}, Linux "
        f"{platform.release().split('-')[0]}, Python {platform.python_version()}; the machine's load before it began: "
        f"{load:.1f}. Made by `python benchmarks/sandbox.py`.",
        "",
        "| | tests/s, one at a time | ratio | tests/s, two at a time | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in ways:
        cells = []
        for workers in (1, 2):
            pairs = zip(rates[name, workers], rates["a plain process per test", workers], strict=True)
            ratios = [mine / theirs for mine, theirs in pairs]
            cells.append(f"{statistics.median(rates[name, workers]):.0f}")
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "A box per program is one start of Python for all tests of the program and a fork for each of them, which is "
        "why it is faster than no sandbox at all. A box per test shows what the walls themselves cost.",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
