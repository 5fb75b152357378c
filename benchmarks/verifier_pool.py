"""How much sooner a batch of answers is verified by the pool than by one process: docs/results/verifier_pool.md.

    python benchmarks/verifier_pool.py

The batch is that of an iteration: 64 problems with 8 answers each, half of them right, of which some hang. Each arm
verifies it by one guarded process and by the pool, in turn, and the verdicts must be the same.
"""

import argparse
import os
import time
from pathlib import Path
from statistics import median

from k15_plugins.rewards.pooled_verifier import PooledVerifier
from k15_plugins.rewards.verify import GuardedVerifier, Verdicts
from k15_plugins.sandbox import pool

PAGE = Path(__file__).parents[1] / "docs" / "results" / "verifier_pool.md"
TARGET = "math_that_hangs:score"
PROBLEMS, ANSWERS = 64, 8
ARMS = {"none hangs": "", "2 % burn the processor": "burn", "2 % sleep": "sleep"}
TEXT = """# The pool of verifiers

`python benchmarks/verifier_pool.py --limit {limit:g}` verifies {size} answers, {answers} to each of {problems}
problems, as `MathReward` does: by one guarded process, which forks for one sample at a time, and by the pool of
{workers} workers, each of which has such a process. The limit of a sample is {limit:g} s of processor time, and
{wall:g} s by the clock. Times are by the clock; in each row both gave the same verdicts.

| answers | not verified | right | one process, s | pool, s | |
|---|---|---|---|---|---|
{rows}

{cores} cores; the load was {before:.1f} before and {after:.1f} after, and what else ran took its part of the cores.
The first row is the median of {repeats} runs, the others are one run each. Starting took {start_one:.1f} s for the one
process and {start_many:.1f} s for the pool, once in a trainer's life.
"""


def batch(hanging: str) -> list[tuple[str, str, bool, bool]]:
    """Return the answers to all problems; of these, 2 % hang where it is said how."""
    samples = []
    for problem in range(PROBLEMS):
        right = rf"{problem + 1}\sqrt{{{problem + 2}}}" if problem % 8 == 0 else str(problem)
        for answer in range(ANSWERS):
            given = f"x_{answer} = {right}" if answer % 2 else f"{right}{answer}"
            if hanging and len(samples) % 51 == 25:
                given = f"{hanging} {problem} {answer}"
            samples.append((given, right, True, False))
    return samples


def timed(
    verifier: GuardedVerifier | PooledVerifier, samples: list[tuple[str, str, bool, bool]]
) -> tuple[float, Verdicts]:
    """Verify a batch; return seconds by the clock, and the verdicts."""
    start = time.perf_counter()
    verdicts = verifier(samples)
    return time.perf_counter() - start, verdicts


def compare(one: GuardedVerifier, many: PooledVerifier, hanging: str, repeats: int) -> str:
    """Return the row of an arm after its name."""
    samples, olds, news = batch(hanging), [], []
    for _ in range(repeats):
        old, expected = timed(one, samples)
        new, verdicts = timed(many, samples)
        if (verdicts.scores, verdicts.failures.keys()) != (expected.scores, expected.failures.keys()):
            raise SystemExit("the verdicts differ")
        olds.append(old)
        news.append(new)
    old, new = median(olds), median(news)
    return f"{len(verdicts.failures)} | {sum(verdicts.scores):.0f} | {old:.1f} | {new:.1f} | {old / new:.2f}x"


def main() -> None:
    """Measure all arms and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="of the arm in which none hangs")
    parser.add_argument("--limit", type=float, default=5.0, help="of a sample, in seconds of processor time")
    arguments = parser.parse_args()
    repeats, limit = arguments.repeats, arguments.limit
    before = os.getloadavg()[0]
    one, many = GuardedVerifier(TARGET, limit), PooledVerifier(TARGET, limit)
    start_one, _ = timed(one, batch("")[:1])
    start_many, _ = timed(many, [(str(n), str(n), True, False) for n in range(8 * pool.workers())])
    rows = []
    for name, hanging in ARMS.items():
        rows.append(f"| {name} | {compare(one, many, hanging, 1 if hanging else repeats)} |")
        print(rows[-1], flush=True)
    figures = {"before": before, "after": os.getloadavg()[0], "start_one": start_one, "start_many": start_many}
    words = {"rows": "\n".join(rows), "workers": pool.workers(), "cores": os.cpu_count(), "repeats": repeats}
    sizes = {"size": PROBLEMS * ANSWERS, "problems": PROBLEMS, "answers": ANSWERS, "limit": limit, "wall": 6 * limit}
    PAGE.write_text(TEXT.format(**figures, **words, **sizes))


if __name__ == "__main__":
    main()
