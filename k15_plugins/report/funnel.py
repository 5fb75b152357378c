"""The picture of a selection: how many problems are left after each step, and why the others were dropped."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from k15_plugins.curation.funnel import Funnel
from k15_plugins.report.curves import COLOURS, STYLE, save


def draw_funnel(funnel: Funnel, path: Path) -> None:
    """Draw the steps, with the paper's shares beside them if it has some, and the reasons.

    Args:
        funnel: What became of the problems.
        path: The PNG.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = funnel.steps()
    reasons = funnel.reasons()
    with mpl.rc_context(STYLE):
        rows = max(len(steps), len(reasons))
        figure = Figure(figsize=(10.4, 1.4 + 0.38 * rows), layout="constrained")
        left, right = figure.subplots(1, 2)
        _bars(left, steps, COLOURS[0], rows)
        if funnel.paper:
            places = [place for place, name in enumerate(steps) if name in funnel.paper]
            paper = [steps["problems"] * share for share in funnel.paper.values()]
            left.plot(paper, places, "|", color=COLOURS[3], markersize=20, markeredgewidth=3,
                      label="share that was left in the paper")  # fmt: skip
            figure.legend(loc="outside lower left")
        left.set(xlabel="problems left", title="left after each step")
        _bars(right, reasons, COLOURS[1], rows)
        right.set(xlabel="problems dropped", title="dropped because")
        save(figure, path)


def _bars(axes: Axes, counts: dict[str, int], colour: str, rows: int) -> None:
    bars = axes.barh(list(counts), list(counts.values()), color=colour, height=0.65)
    axes.bar_label(bars, padding=4)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set_xlim(0, 1.12 * max([1, *counts.values()]))
    axes.locator_params(axis="x", integer=True)
