"""Inputs from a generator: run in a box with one seed after the other, each twice."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from k15_plugins.code_tests.cyaron_folder import cyaron_folder
from k15_plugins.code_tests.rules import Rules
from k15_plugins.code_tests.run_each import last_line, run_each
from k15_plugins.sandbox import Limits, Outcome, Program, Sandbox, Status

# Graph(100000, 200000) takes CYaRon 6 seconds.
LIMITS = Limits(cpu_seconds=30.0, memory_bytes=2**30, output_bytes=16 * 2**20)
ROUND = 10
"""Seeds that are run before the same ones are run again."""
MAX_USELESS = 10
"""Seeds in a row without a case, after which a generator is given up."""
MAX_TIMEOUTS = 3
"""Runs over the limit, after which it is given up."""

_MARK = b"\0"
# Runs inside. After what the generator prints come the files that it wrote, as CYaRon's users often let it.
_INSIDE = """
import gc, json, os, pathlib, random, runpy, sys
_out = os.dup(1)
import cyaron
# It draws from a generator of its own, which no seed reaches.
sys.modules["xeger.xeger"].Random = lambda: random
# Outputs come from the submissions; a program to be run is not here.
cyaron.IO.output_gen = lambda *_, **__: None
random.seed(int(sys.argv[1]))
sys.argv[0] = "generator.py"
try:
    runpy.run_path("generator.py", run_name="__main__")
except SystemExit as _end:
    if _end.code:
        raise
gc.collect()  # closes the files that are still open
sys.stdout.closed or sys.stdout.flush()
_files = {str(_path): _path.read_text("utf-8") for _path in pathlib.Path().rglob("*.in")}
with os.fdopen(_out, "wb") as _stdout:
    _stdout.write(MARK + json.dumps(_files).encode())
"""


class Trouble(StrEnum):
    """Why a run of a generator gave no case."""

    FAILED = "failed"
    TIMEOUT = "too slow"
    DIFFERENT = "different when run again"
    EMPTY = "empty"
    REPEATED = "a repeat"


@dataclass
class Generated:
    """What a generator wrote.

    Attributes:
        cases: Inputs, all different.
        runs: How many seeds were tried.
        troubles: How many runs, or files of them, gave no case, and why.
        words: The last line of the first failure.
    """

    cases: list[str] = field(default_factory=list)
    runs: int = 0
    troubles: Counter[Trouble] = field(default_factory=Counter)
    words: str = ""

    def in_words(self) -> str:
        """Say how the runs went."""
        counts = ", ".join(f"{number} {trouble}" for trouble, number in self.troubles.most_common() if number)
        told = f"{len(self.cases)} cases of {self.runs} runs" + (f" ({counts})" if counts else "")
        return told + (f": {self.words}" if self.words else "")


def generate_cases(generator: str, sandbox: Sandbox, rules: Rules) -> Generated:
    """Run a generator until there are enough cases, or it is of no use.

    A case is what it prints, or each file `*.in` that it writes. Each seed is run twice, the second time in another
    box and after the other seeds of its round, so that clocks and hashes have moved on: what differs is no case.

    Args:
        generator: Source of a Python program, which may import cyaron.
        sandbox: Runs it.
        rules: How many cases are wanted, and for how many seeds it is run.
    """
    program = Program(
        _INSIDE.replace("MARK", repr(_MARK)),
        files={"generator.py": generator.encode(errors="replace")},
        packages=(cyaron_folder(),),
    )
    made = Generated()
    seen: set[str] = set()
    seeds = iter(range(rules.tries))
    useless = 0
    while len(made.cases) < rules.cases and (some := list(islice(seeds, min(ROUND, rules.cases - len(made.cases))))):
        before = len(made.cases)
        once = _run(program, sandbox, some, made)
        again = _run(program, sandbox, list(once), Generated())
        made.troubles[Trouble.DIFFERENT] += sum(again.get(seed) != inputs for seed, inputs in once.items())
        for text in (text for seed, inputs in once.items() if again.get(seed) == inputs for text in inputs):
            if len(made.cases) == rules.cases:
                return made
            if not text.strip():
                made.troubles[Trouble.EMPTY] += 1
            elif text in seen:
                made.troubles[Trouble.REPEATED] += 1
            else:
                seen.add(text)
                made.cases.append(text)
        useless = 0 if len(made.cases) > before else useless + len(some)
        if made.troubles[Trouble.TIMEOUT] >= MAX_TIMEOUTS or useless >= MAX_USELESS:
            break
    return made


def _run(program: Program, sandbox: Sandbox, seeds: list[int], made: Generated) -> dict[int, list[str]]:
    """Run it for some seeds: seed -> inputs."""
    inputs: dict[int, list[str]] = {}
    outcomes = run_each(sandbox, program, LIMITS, ({"arguments": [str(seed)]} for seed in seeds))
    for seed, outcome in zip(seeds, outcomes, strict=True):
        made.runs += 1
        if outcome.status is Status.OK and (read := _inputs(outcome)) is not None:
            inputs[seed] = read
            continue
        trouble = Trouble.TIMEOUT if outcome.status is Status.TIMEOUT else Trouble.FAILED
        made.troubles[trouble] += 1
        made.words = made.words or last_line(outcome.stderr) or f"{outcome.status}, exit code {outcome.exit_code}"
        if made.troubles[Trouble.TIMEOUT] >= MAX_TIMEOUTS:
            break
    return inputs


def _inputs(outcome: Outcome) -> list[str] | None:
    """Read what a run wrote; None if that is no text."""
    printed, mark, tail = outcome.stdout.rpartition(_MARK)
    try:
        if not mark:  # it ended by os._exit
            return [outcome.stdout.decode()]
        files = json.loads(tail)
        return [files[name] for name in sorted(files, key=_natural)] or [printed.decode()]
    except (ValueError, TypeError, AttributeError):
        return None


def _natural(name: str) -> list[tuple[int, str]]:
    """Let 2.in come before 10.in."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
