"""The picture of test generation: how many problems are left after each step, and why the others were dropped."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from k15_plugins.code_tests.funnel import PAPER, Funnel
from k15_plugins.code_tests.reasons import Reason
from k15_plugins.report.curves import COLOURS, STYLE, save


def draw_funnel(funnel: Funnel, path: Path) -> None:
    """Draw the steps, with the paper's shares beside them, and the reasons.

    Args:
        funnel: What became of the problems.
        path: The PNG.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = funnel.steps()
    reasons = {str(reason): funnel.dropped[reason] for reason in Reason if funnel.dropped[reason]}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.0 + 0.22 * max(len(steps), len(reasons))), layout="constrained")
        left, right = figure.subplots(1, 2)
        _bars(left, steps, COLOURS[0])
        paper = [steps["problems"] * PAPER[name] if name in PAPER else None for name in steps]
        places = [place for place, value in enumerate(paper) if value is not None]
        left.plot([paper[place] for place in places], places, "|", color=COLOURS[1], markersize=22, markeredgewidth=2,
                  label="share in the paper")  # fmt: skip
        left.set(xlabel="problems left", title="left after each step")
        left.legend(loc="lower right", frameon=True, facecolor="white", edgecolor="none")
        _bars(right, reasons, COLOURS[1])
        right.set(xlabel="problems dropped", title="dropped because")
        save(figure, path)


def _bars(axes: Axes, counts: dict[str, int], colour: str) -> None:
    bars = axes.barh(list(counts), list(counts.values()), color=colour, height=0.65)
    axes.bar_label(bars, padding=4)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlim(0, 1.12 * max([1, *counts.values()]))
    axes.locator_params(axis="x", integer=True)
