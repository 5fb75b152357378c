"""Reading what a run has recorded."""

from collections import defaultdict

import numpy as np

from k15_plugins.files.jsonl import Line

METRICS = "metrics.jsonl"
ROLLOUTS = "rollouts.jsonl"
HELD_OUT = "held_out.jsonl"


def last_figures(metrics: list[Line]) -> dict[str, float]:
    """Return the last value of every figure.

    Args:
        metrics: Lines of metrics.jsonl.
    """
    last: dict[str, float] = {}
    for line in metrics:
        last |= {key: value for key, value in line.items() if isinstance(value, int | float)}
    return last


def curve(metrics: list[Line], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a figure over the iterations, averaged within each.

    Args:
        metrics: Lines of metrics.jsonl.
        key: Name of the figure. Held-out figures (`eval_...`) belong to the model *before* an iteration's
            updates or after them, so they stand at the number of updates done, counted in iterations.

    Returns:
        Iterations (n,) and values (n,); both empty if the figure was never logged.
    """
    values = defaultdict(list)
    per_iteration = updates_per_iteration(metrics)
    for line in metrics:
        if isinstance(line.get(key), int | float):
            place = line["step"] / per_iteration if key.startswith("eval_") else line["iteration"]
            values[place].append(line[key])
    places = sorted(values)
    return np.array(places, float), np.array([np.mean(values[place]) for place in places])


def updates_per_iteration(metrics: list[Line]) -> int:
    """Return the number of updates in an iteration, as the lines show it; 1 if they do not.

    Args:
        metrics: Lines of metrics.jsonl.
    """
    # Rewards are logged once an iteration, by its first update; the step of the second one is 1 + the updates.
    first = sorted({line["step"] for line in metrics if isinstance(line.get("reward"), int | float)})
    return first[1] - first[0] if len(first) > 1 else 1


def success_map(rollouts: list[Line]) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each problem was solved when it was last drawn, over the iterations.

    Args:
        rollouts: Lines of rollouts.jsonl.

    Returns:
        Success rates (P problems that were drawn, I iterations), NaN before the first
        draw of a problem, and the problems' levels (P,). Problems are sorted by level, then by the iteration of their
        first right answer.
    """
    drawn: dict[int, dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    levels: dict[int, int] = {}
    for line in rollouts:
        if line["problem"] is not None:
            drawn[line["problem"]][line["iteration"]].append(line["right"])
            levels[line["problem"]] = line.get("level", 0)
    last = max((line["iteration"] for line in rollouts), default=-1)

    def first_success(problem: int) -> int:
        return min((i for i, right in drawn[problem].items() if any(right)), default=last + 1)

    order = sorted(drawn, key=lambda problem: (levels[problem], first_success(problem), min(drawn[problem]), problem))
    rates = np.full((len(order), last + 1), np.nan)
    for row, problem in enumerate(order):
        for iteration in sorted(drawn[problem]):
            rates[row, iteration:] = np.mean(drawn[problem][iteration])
    return rates, np.array([levels[problem] for problem in order], int)
