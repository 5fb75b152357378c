"""A timeline of rollouts in each mode: `python benchmarks/rollout_timeline.py`.

Draws `docs/results/rollout_timeline.png`, on transformers, with the recorded lengths of `rollout_throughput.py` and
half of its batch. Rows are places in the engine's batch: a place that a trajectory leaves is taken by a new one.
"""

from typing import Any
from unittest.mock import patch

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rollout_throughput import ANSWERS, MODES, RESULTS, Record, trained

from k15_plugins.report.curves import COLOURS, STYLE
from k15_plugins.rollouts import RolloutBuffer

GROUPS = 4
SYNCHRONOUS_ITERATIONS = 3
PARTIAL_ITERATIONS = 16
TITLES = {
    "synchronous": "synchronous: an iteration lasts as long as its longest response",
    "budget": "budget: 256 tokens for each trajectory and iteration",
    "pause": "pause: the others pause as soon as half have ended",
}


class TimelineRecord(Record):
    """Notes each trajectory's segments: (iteration, call of the engine, tokens) by trajectory."""

    def __init__(self) -> None:
        super().__init__()
        self.segments: dict[int, list[tuple[int, int, int]]] = {}
        self.kept: list[Any] = []  # so that no id is given twice

    def extended(self, extend: Any) -> Any:
        """Return the buffer's `extend` with a note."""

        def note(buffer: Any, trajectory: Any, ids: Any, logps: Any, iteration: int, stop: Any) -> None:
            self.kept.append(trajectory)
            self.segments.setdefault(id(trajectory), []).append((iteration, len(self.engine) - 1, len(ids)))
            extend(buffer, trajectory, ids, logps, iteration, stop)

        return note

    def bars(self) -> list[list[tuple[int, float, float]]]:
        """Return the bars of each trajectory: (iteration, begin, seconds). An engine adds tokens at an even pace."""
        if not self.segments:
            whole = enumerate(self.trained)
            rows = [[(iteration, iteration, tokens)] for iteration, lengths in whole for tokens in lengths]
        else:
            rows = list(self.segments.values())
        longest: dict[int, int] = {}
        for row in rows:
            for _, call, tokens in row:
                longest[call] = max(longest.get(call, 0), tokens)
        return [
            [
                (iteration, begin, (end - begin) * tokens / longest[call])
                for iteration, call, tokens in row
                for begin, end in [self.engine[call]]
            ]
            for row in rows
        ]


def places(bars: list[list[tuple[int, float, float]]]) -> list[int]:
    """Give each trajectory a place that is free from its begin to its end."""
    free_from: list[float] = []
    taken = []
    for row in bars:
        begin, end = row[0][1], row[-1][1] + row[-1][2]
        free = [place for place, time in enumerate(free_from) if time <= begin]
        place = free[0] if free else len(free_from)
        free_from[place : place + 1] = [end]
        taken.append(place)
    return taken


def draw(axes: Axes, record: TimelineRecord, colours: Any, shown_seconds: float) -> None:
    """Draw the first seconds of a mode."""
    start = record.engine[0][0]
    bars = [row for row in record.bars() if row[0][1] - start < shown_seconds]
    for place, row in zip(places(bars), bars, strict=True):
        for iteration, begin, seconds in row:
            colour = colours(iteration % colours.N)
            axes.barh(place, seconds, left=begin - start, height=0.9, color=colour, linewidth=0)
        axes.plot(row[-1][1] + row[-1][2] - start, place, marker="|", color="black", markersize=3)
    for iteration, end in enumerate(record.updated):
        begin = max(engine_end for _, engine_end in record.engine if engine_end <= end)
        if begin - start >= shown_seconds:
            break
        axes.axvspan(begin - start, end - start, color="#BBBBBB", linewidth=0, zorder=0)
        above = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 7}
        axes.text((begin + min(end, start + shown_seconds)) / 2 - start, 1.01, str(iteration + 1), **above)
    axes.set(ylabel="trajectories", ylim=(max(places(bars)) + 0.6, -0.6), yticks=[])
    axes.grid(visible=False)


def main() -> None:
    """Train each mode for some iterations, and draw what the engine did."""
    records = {}
    for mode in MODES:
        record = records[mode] = TimelineRecord()
        changes: dict[str, Any] = {"per_device_train_batch_size": GROUPS * ANSWERS // 2}
        if mode == "pause":
            changes["rollout_pool_groups"] = 2 * GROUPS
        iterations = SYNCHRONOUS_ITERATIONS if mode == "synchronous" else PARTIAL_ITERATIONS
        with (
            patch.object(RolloutBuffer, "extend", record.extended(RolloutBuffer.extend)),
            trained("transformers", "replayed", mode, iterations, record, **changes),
        ):
            pass
    seconds = records["synchronous"].updated[-1] - records["synchronous"].engine[0][0]
    colours = ListedColormap(COLOURS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 9.5), layout="constrained")
        panels = figure.subplots(3, 1, sharex=True)
        for axes, (mode, record) in zip(panels, records.items(), strict=True):
            draw(axes, record, colours, seconds)
            start = record.engine[0][0]
            done = [place for place, end in enumerate(record.updated) if end - start <= seconds * 1.001]
            rollouts = sum(len(record.trained[place]) for place in done)
            axes.set_title(
                f"{TITLES[mode]}; {rollouts} rollouts trained on by the end", loc="left", fontsize=10, pad=14
            )
            axes.set_xlim(0, seconds)
        panels[-1].set_xlabel("processor seconds from the start")
        parts = [Patch(color=colour, label="") for colour in COLOURS]
        parts[-1].set_label("policy versions, one colour after the other")
        parts.append(Patch(color="#BBBBBB", label="updates (iteration above)"))
        end = mpl.lines.Line2D([], [], color="black", marker="|", linestyle="", label="end of a response")
        figure.legend(handles=[*parts, end], loc="outside lower center", ncols=len(parts) + 1, columnspacing=0.6,
                      handletextpad=0.4)  # fmt: skip
        figure.savefig(RESULTS / "rollout_timeline.png", dpi=110)
    for mode, record in records.items():
        print(mode, [len(row) for row in record.trained], np.diff([record.engine[0][0], *record.updated]).round(2))


if __name__ == "__main__":
    main()
