"""What samples say about a model: pass@1, pass@k, majority vote, tokens, with intervals; and two models compared.

The unit of all intervals and tests is the problem: samples of one problem are not independent of each other.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np

from k15_plugins.samples import SampledProblem, check_problems

Summary = dict[str, Any]
_PERCENTILES = (5, 25, 50, 75, 95)
_HEAD = ["accuracy (pass@1)", "tokens", "tokens p5 / p50 / p95", "truncated"]
_CHUNK = 5_000_000  # problems drawn at once; more would only take memory


def summarize(
    problems: list[SampledProblem], *, ks: Sequence[int] = (1, 2, 4, 8, 16), resamples: int = 2000, seed: int = 0
) -> Summary:
    """Return the figures of a model, for all problems, for each task, and for each level of each task.

    Args:
        problems: Problems, all with the same number of samples.
        ks: Which pass@k; those above the number of samples are left out.
        resamples: Resamples of the bootstrap.
        seed: Seed of the bootstrap.

    Returns:
        `all`, `tasks` (by task) and `levels` (by task, then level), each with `problems`, `samples` (of a
        problem), `accuracy` (pass@1), `pass_at` (by k), `majority` (None if no final answers were extracted), `tokens`
        and `truncated`, their 95 % intervals (`accuracy_interval` ..., `pass_at_intervals` by k), `tokens_percentiles`
        and `tokens_max`. JSON-ready.

    Raises:
        ValueError: If there are no problems, or they differ in their number of samples.
    """
    if not problems:
        raise ValueError("problems must hold at least one problem, got none; sample some.")
    numbers = {len(problem.samples) for problem in problems}
    if len(numbers) > 1:
        raise ValueError(
            f"problems must have equally many samples each, got {min(numbers)} to {max(numbers)}; sample all alike."
        )
    tasks: dict[str, list[SampledProblem]] = defaultdict(list)
    levels: dict[str, dict[str, list[SampledProblem]]] = defaultdict(lambda: defaultdict(list))
    for problem in problems:
        tasks[problem.task].append(problem)
        levels[problem.task][str(problem.level)].append(problem)

    def figures(some: list[SampledProblem]) -> Summary:
        return _figures(some, ks, resamples, np.random.default_rng(seed))

    return {
        "all": figures(problems),
        "tasks": {task: figures(tasks[task]) for task in sorted(tasks)},
        "levels": {
            task: {level: figures(levels[task][level]) for level in sorted(levels[task], key=int)}
            for task in sorted(levels)
        },
    }


def _figures(problems: list[SampledProblem], ks: Sequence[int], resamples: int, rng: np.random.Generator) -> Summary:
    right_PN = np.array([[sample.right for sample in problem.samples] for problem in problems])
    tokens_PN = np.array([[sample.tokens for sample in problem.samples] for problem in problems])
    truncated_PN = np.array([[sample.truncated for sample in problem.samples] for problem in problems])
    number = right_PN.shape[1]
    votes = [majority_vote(problem) for problem in problems]
    nobody_votes = all(vote is None for vote in votes)
    figures = {
        "accuracy": right_PN.mean(axis=1),
        "tokens": tokens_PN.mean(axis=1),
        "majority": np.array([vote or 0.0 for vote in votes]),
        "truncated": truncated_PN.mean(axis=1),
    }
    kept = [k for k in ks if k <= number]
    pass_at = [np.array([pass_at_k(number, int(right), k) for right in right_PN.sum(axis=1)]) for k in kept]
    intervals = bootstrap_intervals(np.stack([*figures.values(), *pass_at], axis=1), resamples, rng)
    interval = dict(zip(figures, intervals, strict=False))
    return {
        "problems": len(problems),
        "samples": number,
        "accuracy": float(right_PN.mean()),
        "accuracy_interval": interval["accuracy"],
        "pass_at": {str(k): float(values_P.mean()) for k, values_P in zip(kept, pass_at, strict=True)},
        "pass_at_intervals": {str(k): each for k, each in zip(kept, intervals[len(figures) :], strict=True)},
        "majority": None if nobody_votes else float(figures["majority"].mean()),
        "majority_interval": None if nobody_votes else interval["majority"],
        "tokens": float(tokens_PN.mean()),
        "tokens_interval": interval["tokens"],
        "tokens_percentiles": {str(p): float(np.percentile(tokens_PN, p)) for p in _PERCENTILES},
        "tokens_max": int(tokens_PN.max()),
        "truncated": float(truncated_PN.mean()),
        "truncated_interval": interval["truncated"],
    }


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Return the probability that at least one of k samples, drawn without replacement, is right: 1 - C(n-c,k)/C(n,k).

    Args:
        samples: n, the samples of a problem.
        right: c, how many of them are right.
        k: At most n.
    """
    return 1.0 - comb(samples - right, k) / comb(samples, k)


def majority_vote(problem: SampledProblem) -> float | None:
    """Return whether the most frequent final answer of a problem is right; between equally frequent ones, the mean.

    Right answers count as one answer however they are written, for the scorer found them equal to the right one; wrong
    ones count as one only if they are written alike.

    Args:
        problem: Its samples vote with their `answer`; one without an answer does not vote.

    Returns:
        In [0, 1]; None if nobody votes.
    """
    votes: dict[str | None, list[bool]] = defaultdict(list)
    for sample in problem.samples:
        if sample.answer is not None:
            votes[None if sample.right else sample.answer].append(sample.right)
    if not votes:
        return None
    most = max(len(verdicts) for verdicts in votes.values())
    return float(np.mean([np.mean(verdicts) for verdicts in votes.values() if len(verdicts) == most]))


def bootstrap_intervals(values_PV: np.ndarray, resamples: int, rng: np.random.Generator) -> list[list[float]]:
    """Return the 95 % percentile bootstrap interval of the mean over problems, for each of some figures.

    Args:
        values_PV: Figures of each problem (P problems, V figures).
        resamples: Number of resamples.
        rng: Draws the resamples.

    Returns:
        Lower and upper end for each figure.
    """
    size = len(values_PV)
    columns = np.ascontiguousarray(values_PV.T)
    means = []
    for start in range(0, resamples, chunk := max(1, _CHUNK // size)):
        drawn_RP = rng.integers(0, size, size=(min(chunk, resamples - start), size), dtype=np.int32)
        means.append(np.stack([column_P[drawn_RP].mean(axis=1) for column_P in columns], axis=1))
    means_RV = np.concatenate(means)
    return np.percentile(means_RV, [2.5, 97.5], axis=0).T.tolist()


def compare(
    ours: list[SampledProblem], theirs: list[SampledProblem], *, resamples: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """Compare two models on the same problems: paired differences, their intervals, and a paired test.

    The test flips the sign of each problem's difference at random (a permutation test, which assumes no distribution
    and takes any number of samples a problem).

    Args:
        ours: Problems sampled from one model.
        theirs: The same problems sampled from another.
        resamples: Resamples of the bootstrap, and sign flips.
        seed: Seed of both.

    Returns:
        `accuracy` and `tokens`, ours minus theirs, each with `difference`, `interval` (95 %) and `p_value`
        (two-sided).

    Raises:
        ValueError: If the problems are not the same.
    """
    check_problems(ours)
    check_problems(theirs)
    pairs = list(zip(ours, theirs, strict=False))
    if len(ours) != len(theirs) or any(a.prompt != b.prompt for a, b in pairs):
        raise ValueError("the two results are not of the same problems; measure both on one task with one seed.")
    differences_PV = np.array(
        [
            [
                np.mean([sample.right for sample in a.samples]) - np.mean([sample.right for sample in b.samples]),
                np.mean([sample.tokens for sample in a.samples]) - np.mean([sample.tokens for sample in b.samples]),
            ]
            for a, b in pairs
        ]
    )
    rng = np.random.default_rng(seed)
    intervals = bootstrap_intervals(differences_PV, resamples, rng)
    return {
        name: {
            "difference": float(differences_P.mean()),
            "interval": interval,
            "p_value": sign_flip_p_value(differences_P, resamples, rng),
        }
        for name, differences_P, interval in zip(("accuracy", "tokens"), differences_PV.T, intervals, strict=True)
    }


def sign_flip_p_value(differences_P: np.ndarray, flips: int, rng: np.random.Generator) -> float:
    """Return the two-sided p-value of a mean difference of 0 by random sign flips, the observed one counted in.

    Args:
        differences_P: Difference of each problem.
        flips: Number of random flips.
        rng: Draws the signs.
    """
    nonzero = differences_P[differences_P != 0]
    if not len(nonzero):
        return 1.0
    signs_RP = rng.integers(0, 2, size=(flips, len(nonzero)), dtype=np.int8) * 2 - 1
    # Rounding must not make a flip differ from the observed sum that it equals.
    at_least = np.abs(signs_RP @ nonzero) >= np.abs(nonzero.sum()) - 1e-9
    return float((at_least.sum() + 1) / (flips + 1))


def table(summaries: dict[str, Summary], comparisons: dict[str, dict[str, Any]] | None = None) -> str:
    """Write the figures of some models as a Markdown table.

    Args:
        summaries: Name of a model to what `summarize` returned.
        comparisons: Name of a model to what `compare` with the first one returned.
    """
    ks = [k for k in next(iter(summaries.values()))["all"]["pass_at"] if k != "1"]
    head = ["model", *_HEAD[:1], *(f"pass@{k}" for k in ks), "majority", *_HEAD[1:]]
    head += ["accuracy against the first", "tokens against the first"] if comparisons else []
    rows = []
    for name, summary in summaries.items():
        of = summary["all"]
        accuracy, *others = _cells(of)
        cells = [name, accuracy, *(_figure(of["pass_at"][k], of["pass_at_intervals"][k]) for k in ks)]
        cells += ["-" if of["majority"] is None else _figure(of["majority"], of["majority_interval"]), *others]
        if comparisons:
            cells += [_change(comparisons[name][key], digits) if name in comparisons else "-"
                      for key, digits in (("accuracy", 3), ("tokens", 1))]  # fmt: skip
        rows.append(cells)
    return _markdown(head, rows)


def details(summaries: dict[str, Summary]) -> str:
    """Write the figures of some models for each task, and for each level of it, as a Markdown table.

    Args:
        summaries: Name of a model to what `summarize` returned.
    """
    rows = []
    for name, summary in summaries.items():
        for task, of_task in summary["tasks"].items():
            for level, of in {"all": of_task, **summary["levels"][task]}.items():
                rows.append([name, task, level, str(of["problems"]), *_cells(of)])
    return _markdown(["model", "task", "level", "problems", *_HEAD], rows)


def _cells(of: dict[str, Any]) -> list[str]:
    """Return what stands under `_HEAD`."""
    return [
        _figure(of["accuracy"], of["accuracy_interval"]),
        _figure(of["tokens"], of["tokens_interval"], 1),
        " / ".join(f"{of['tokens_percentiles'][p]:.0f}" for p in ("5", "50", "95")),
        _figure(of["truncated"], of["truncated_interval"]),
    ]


def _figure(value: float, interval: list[float], digits: int = 3) -> str:
    low, high = interval
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(
        [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    )


def _change(of: dict[str, Any], digits: int) -> str:
    low, high = of["interval"]
    return f"{of['difference']:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}], p {of['p_value']:.2g}"
