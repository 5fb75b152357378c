"""Accuracy against tokens, a point a model: the paper's Fig. 7."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from k15_plugins.evaluation.frontier import Point, frontier
from k15_plugins.report.curves import COLOURS, STYLE, save


def point(name: str, summary: dict[str, Any]) -> Point:
    """Return a model's place in the picture.

    Args:
        name: Name of the model.
        summary: What `evaluation.figures.summarize` returned.
    """
    return Point(name, summary["all"]["accuracy"], summary["all"]["tokens"])


def draw_accuracy_tokens(
    summaries: dict[str, dict[str, Any]], path: Path, chosen: str | None = None, line: list[str] | None = None
) -> None:
    """Draw the accuracy of models over their mean tokens, with 95 % intervals both ways and the frontier marked.

    Args:
        summaries: Name of a model to what `evaluation.figures.summarize` returned.
        path: The PNG.
        chosen: Name of a model to be ringed.
        line: Names of models to be joined in this order, as those of a sweep.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    points = [point(name, summary) for name, summary in summaries.items()]
    best = frontier(points)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.8), layout="constrained")
        axes = figure.subplots()
        axes.step([p.tokens for p in best], [p.accuracy for p in best], where="post", color="#B0B0B0", linestyle="--",
                  linewidth=1, zorder=1, label="frontier")  # fmt: skip
        if line:
            joined = [point(name, summaries[name]) for name in line]
            axes.plot([p.tokens for p in joined], [p.accuracy for p in joined], color="#888888", linewidth=1, zorder=1)
        for number, place in enumerate(points):
            of = summaries[place.name]["all"]
            errors = [
                [[max(0.0, value - low)], [max(0.0, high - value)]]
                for value, (low, high) in (
                    (place.tokens, of["tokens_interval"]),
                    (place.accuracy, of["accuracy_interval"]),
                )
            ]
            colour = COLOURS[number % len(COLOURS)]
            filled = colour if place in best else "white"
            axes.errorbar(place.tokens, place.accuracy, xerr=errors[0], yerr=errors[1], fmt="o", color=colour,
                          markerfacecolor=filled, markersize=7, elinewidth=1, capsize=2, zorder=2)  # fmt: skip
            if place.name == chosen:
                axes.plot(place.tokens, place.accuracy, "o", markersize=15, markerfacecolor="none", color=colour)
        axes.margins(0.15)
        figure.draw_without_rendering()
        _label(axes, points)
        axes.set(xlabel="mean length of a response (tokens)", ylabel="share of right answers (pass@1)")
        axes.legend(loc="best")
        save(figure, path)


def _label(axes: Any, points: list[Point]) -> None:
    """Write the names beside their points, each in the first place around it that is free."""
    height = 11
    taken = [axes.transData.transform((p.tokens, p.accuracy)) for p in points]
    boxes = [(x - 6, y - 6, x + 6, y + 6) for x, y in taken]
    for number, place in enumerate(points):
        x, y = taken[number]
        width = 7.0 * len(place.name)
        spots = [
            (dx, dy - height / 2, align)
            for dy in (10, -10, 24, -24, 38, -38, 52, -52)
            for dx, align in ((10, "left"), (-10, "right"))
        ]

        def box(spot: tuple[float, float, str], x: float = x, y: float = y, width: float = width) -> tuple:
            left = x + spot[0] - (width if spot[2] == "right" else 0)
            return left, y + spot[1], left + width, y + spot[1] + height

        def overlaps(one: tuple) -> int:
            outside = one[0] < axes.bbox.x0 or one[2] > axes.bbox.x1
            return 9 * outside + sum(
                one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3] for other in boxes
            )

        spot = min(spots, key=lambda spot: overlaps(box(spot)))
        boxes.append(box(spot))
        scale = 72 / axes.figure.dpi
        axes.annotate(place.name, (place.tokens, place.accuracy), (spot[0] * scale, spot[1] * scale),
                      textcoords="offset points", ha=spot[2], va="bottom", fontsize=9)  # fmt: skip
