"""How long the samplers take with ten million problems, against numpy's own weighted choice.

`python benchmarks/sampling_speed.py` prints the table and writes it to docs/results/sampling_speed.md.
"""

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from k15_plugins.sampling import (
    CurriculumSampler,
    EasyToHard,
    PrioritizedSampler,
    ProblemSampler,
    UniformSampler,
    UniformThenHard,
)

ROLLOUTS = 8
NUM_LEVELS = 10
RESULTS = Path(__file__).parent.parent / "docs" / "results" / "sampling_speed.md"


def milliseconds(call: Callable[[], object]) -> float:
    """Processor time of one call: unlike the wall clock, it leaves out other work on the machine."""
    start = time.thread_time()
    call()
    return 1e3 * (time.thread_time() - start)


def samplers(num_problems: int, iterations: int, rng: np.random.Generator) -> dict[str, ProblemSampler]:
    """One sampler of each kind; a tenth of the problems in each level, a hundredth in the hardest."""
    levels = rng.integers(0, NUM_LEVELS - 1, num_problems, dtype=np.uint8)
    levels[rng.random(num_problems) < 0.01] = NUM_LEVELS - 1
    walk = EasyToHard(iterations=iterations)
    switch = UniformThenHard(hard_level=NUM_LEVELS - 1, switch_iteration=iterations // 2)
    return {
        "uniform": UniformSampler(num_problems),
        "curriculum, easy to hard": CurriculumSampler(levels, walk),
        "curriculum, uniform then hard (1 %)": CurriculumSampler(levels, switch),
        "prioritized": PrioritizedSampler(num_problems),
        "prioritized x easy to hard": PrioritizedSampler(num_problems, levels=levels, schedule=walk),
        "prioritized x uniform then hard (1 %)": PrioritizedSampler(num_problems, levels=levels, schedule=switch),
    }


def fill_success_rates(sampler: ProblemSampler, rng: np.random.Generator) -> None:
    """Make every problem a seen one, a fifth unsolved and three fifths nearly solved: late in a run, the hard case."""
    for ids in np.array_split(np.arange(sampler.num_problems), 20):
        rate = rng.choice([0.0, 0.5, 0.97, 0.98, 0.99], len(ids))
        sampler.observe(ids, rng.binomial(5 * ROLLOUTS, rate), np.full(len(ids), 5 * ROLLOUTS))


def main() -> None:
    """Time every sampler and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=10_000_000)
    parser.add_argument("--draw", type=int, default=1024, help="problems per iteration")
    parser.add_argument("--iterations", type=int, default=200)
    args = parser.parse_args()
    rng = np.random.default_rng(0)

    rows = []
    for name, sampler in samplers(args.problems, args.iterations, rng).items():
        fill_success_rates(sampler, rng)
        draws, observations = [], []
        for _ in range(args.iterations):
            drawn: list[np.ndarray] = []
            draws.append(milliseconds(lambda: drawn.append(sampler.draw(args.draw))))  # noqa: B023
            right = rng.binomial(ROLLOUTS, 0.5, args.draw)
            rollouts = np.full(args.draw, ROLLOUTS)
            observations.append(milliseconds(lambda: sampler.observe(drawn[0], right, rollouts)))  # noqa: B023
        times = f"{np.median(draws):.2f} | {max(draws):.1f} | {np.median(observations):.2f} | {max(observations):.1f}"
        rows.append(f"| {name} | {times} | {sampler.nbytes / args.problems:.2f} |")
        print(rows[-1], flush=True)

    weights = rng.random(args.problems)
    naive = [
        milliseconds(lambda: rng.choice(args.problems, args.draw, replace=False, p=weights / weights.sum()))
        for _ in range(3)
    ]
    rows.append(
        f"| `rng.choice(n, {args.draw}, replace=False, p=w)` | {np.median(naive):.0f} | {max(naive):.0f} | | | 8 |"
    )

    table = "\n".join(
        [
            "# Speed of the samplers",
            "",
            f"{args.problems:,} problems, {args.draw:,} drawn and observed in each of {args.iterations} iterations. "
            "All problems were seen before: a fifth unsolved, three fifths nearly solved. "
            f"Processor time on one core, {platform.machine()}, Python {platform.python_version()}, "
            f"numpy {np.__version__}. "
            "Made by `python benchmarks/sampling_speed.py`.",
            "",
            "| sampler | draw, median ms | draw, max ms | observe, median ms | observe, max ms | bytes a problem |",
            "|---|---:|---:|---:|---:|---:|",
            *rows,
            "",
            "For numpy's choice, the bytes are those of its weights. A curriculum is slowest in a draw at which the "
            "open levels change and hold less than an eighth of the problems, because it then lists these problems.",
            "",
        ]
    )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(table)
    print(f"\n{table}")


if __name__ == "__main__":
    main()
