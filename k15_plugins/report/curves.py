"""The pictures of a run and of a sweep, as PNG."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from k15_plugins.files.jsonl import Line
from k15_plugins.report.history import curve, success_map

# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
_UNITS = {
    "eval_k15/accuracy": "right answers, held-out problems (share)",
    "k15/accuracy": "right answers, rollouts (share)",
    "accuracy": "right answers (share)",
    "reward": "mean reward of a rollout",
    "completions/mean_length": "response (tokens)",
    "loss": "training loss",
}
DASHES = ("-", "--", ":")
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def draw_run(metrics: list[Line], rollouts: list[Line], folder: Path, penalty_from: int | None = None) -> list[Path]:
    """Draw the pictures of a run.

    Args:
        metrics: Lines of metrics.jsonl.
        rollouts: Lines of rollouts.jsonl.
        folder: Where the PNGs go.
        penalty_from: Iteration in which the length reward sets in; marked if the run got there.

    Returns:
        The pictures for which the run has figures, in reading order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted({key for line in metrics for key in line if key.startswith("rewards/") and key.endswith("/mean")})
    parts = {key: key.removeprefix("rewards/").removesuffix("/mean") for key in names}
    pictures = {
        "reward": ("mean reward of a rollout", {"reward": "total"} | (parts if len(parts) > 1 else {})),
        "accuracy": ("share of right answers", {"k15/accuracy": "rollouts", "eval_k15/accuracy": "held-out problems"}),
        "tokens": (
            "mean length of a response (tokens)",
            {"completions/mean_length": "rollouts", "eval_completions/mean_length": "held-out problems"},
        ),
        "rho": (
            "log-ratio to the iteration's policy (nats)",
            {"k15/rho_abs_mean": "mean |ρ|", "k15/rho_std": "standard deviation of ρ", "k15/rho_mean": "mean ρ"},
        ),
        "loss": ("training loss", {"loss": "loss"}),
    }
    drawn: list[Path] = []
    for name, (unit, keys) in pictures.items():
        curves = {label: curve(metrics, key) for key, label in keys.items()}
        curves = {label: points for label, points in curves.items() if len(points[0])}
        # The loss says little in reinforcement learning, and is all there is in supervised training.
        if curves and (name != "loss" or not drawn):
            save(_draw_curves(curves, unit, penalty_from), folder / f"{name}.png")
            drawn.append(folder / f"{name}.png")
    if rollouts:
        save(_draw_success_map(rollouts), folder / "success_map.png")
        drawn.append(folder / "success_map.png")
    return drawn


def draw_sweep(title: str, groups: Mapping[str, Sequence[list[Line]]], metric: str | None, path: Path) -> None:
    """Draw the curves of a sweep: the mean over the seeds of each group, and a standard deviation around it.

    The deviation is that of a sample (divided by n - 1), as in the table of `sweep.md`.

    Args:
        title: What stands above the picture.
        groups: Name of a group to the metrics.jsonl lines of its jobs.
        metric: The figure that the sweep compares; drawn first.
        path: The PNG.
    """
    recorded = {key for jobs in groups.values() for lines in jobs for line in lines for key in line}
    keys = [metric] if metric else []
    keys += [key for key in ("reward", "completions/mean_length") if key in recorded and key != metric]
    units = {key: _UNITS.get(key, key) for key in keys or ["loss"]}
    colours = [(colour, dashes) for dashes in DASHES for colour in COLOURS]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2 * len(units), 4.2), layout="constrained")
        for axes, (key, unit) in zip(figure.subplots(1, len(units), squeeze=False)[0], units.items(), strict=True):
            for (name, jobs), (colour, dashes) in zip(groups.items(), itertools.cycle(colours)):
                curves = [points for points in (curve(lines, key) for lines in jobs) if len(points[0])]
                if curves:
                    _draw_group(axes, curves, name, colour, dashes)
            _label(axes, unit)
        figure.suptitle(title)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        if any(len(jobs) > 1 for jobs in groups.values()):
            handles.append(Patch(color="#777777", alpha=0.18, linewidth=0))
            labels.append("mean ± standard deviation over the seeds")
        if labels:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
        save(figure, path)


def _draw_group(axes: Axes, curves: list[tuple[np.ndarray, np.ndarray]], name: str, colour: str, dashes: str) -> None:
    """Draw mean and deviation of some runs, which may have ended at different iterations."""
    places = np.unique(np.concatenate([x for x, _ in curves]))
    values = np.full((len(curves), len(places)), np.nan)
    for row, (x, y) in zip(values, curves, strict=True):
        row[np.searchsorted(places, x)] = y
    mean = np.nanmean(values, axis=0)
    # Where a single run is left there is no deviation to show.
    several = np.count_nonzero(~np.isnan(values), axis=0) > 1
    marker = "." if len(places) < 20 else ""
    axes.plot(places, mean, color=colour, linestyle=dashes, linewidth=1.8, label=name, marker=marker)
    if several.any():
        spread = np.nanstd(values[:, several], axis=0, ddof=1)
        low, high = mean[several] - spread, mean[several] + spread
        axes.fill_between(places[several], low, high, color=colour, alpha=0.18, linewidth=0)


def _draw_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], unit: str, penalty_from: int | None) -> Figure:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.subplots()
        last, smoothed = 0.0, False
        for colour, (label, (x, y)) in zip(COLOURS, curves.items(), strict=False):
            last = max(last, x[-1])
            if label.startswith("held-out") or len(x) < 15:
                axes.plot(x, y, color=colour, linewidth=1.8, marker="o", markersize=4, label=label)
            else:
                axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
                axes.plot(x, _smooth(y), color=colour, linewidth=1.8, label=label)
                smoothed = True
        if penalty_from is not None and 0 < penalty_from <= last:
            axes.axvline(penalty_from, color="#777777", linewidth=1, linestyle="--", label="length reward sets in")
        _label(axes, unit)
        if smoothed:
            axes.set_xlabel("iteration (thick lines: mean of the last 5)")
        # Above the axes, where no curve can run under it.
        figure.legend(loc="outside upper left", ncols=2, fontsize=9)
    return figure


def _smooth(y: np.ndarray) -> np.ndarray:
    """Average each value with up to four before it; none after it, for a change must not show before it happens."""
    sums = np.convolve(y, np.ones(5))[: len(y)]
    return sums / np.minimum(np.arange(len(y)) + 1, 5)


def _draw_success_map(rollouts: list[Line]) -> Figure:
    rates, levels = success_map(rollouts)
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(7.2, 5.0), layout="constrained")
        axes = figure.subplots()
        colours = mpl.colormaps["viridis"].with_extremes(bad="#F0F0F0")
        extent = (-0.5, rates.shape[1] - 0.5, len(rates), 0)
        image = axes.imshow(rates, aspect="auto", cmap=colours, vmin=0, vmax=1, interpolation="nearest", extent=extent)
        bounds = [0, *(np.flatnonzero(np.diff(levels)) + 1), len(levels)]
        for start in bounds[1:-1]:
            axes.axhline(start, color="white", linewidth=1.5)
        axes.set_yticks(
            [(a + b) / 2 for a, b in itertools.pairwise(bounds)],
            [f"level {levels[a]}\n({b - a})" for a, b in itertools.pairwise(bounds)],
        )
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("iteration")
        axes.set_ylabel("problems by level, then by their first right answer")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.colorbar(image, label="success rate when last drawn (grey: not drawn yet)")
    return figure


def _label(axes: Axes, unit: str) -> None:
    axes.set_xlabel("iteration")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG.

    Args:
        figure: The figure.
        path: The PNG.
    """
    FigureCanvasAgg(figure).print_figure(path, dpi=130)
