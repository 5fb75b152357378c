"""Progress of a run on the terminal: a line an iteration, and below them, in a real terminal, a bar.

Lines keep to 80 columns, and to ASCII, which every terminal and every log can show.
"""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

COLUMNS = 80
_SHOWN = {
    "reward": "reward {:.2f}",
    "k15/accuracy": "right {:.2f}",
    "completions/mean_length": "tokens {}",
    "k15/rho_abs_mean": "|rho| {:.3f}",
    "loss": "loss {:.4f}",
}
_HELD_OUT = {"eval_k15/accuracy": "right {:.3f}", "eval_completions/mean_length": "tokens {}"}


class Terminal:
    """Shows what a run is doing, and the figures of each iteration when it is done.

    Args:
        max_steps: Updates of the whole run.
        updates_per_iteration: Updates on the rollouts of one iteration; None for a training
            without rollouts, of which each log is shown with its loss.
        console: Where to write; defaults to standard output.
        done_steps: Updates before this, in a run that goes on.
        began: When the training begins, in seconds since the epoch; now by default.
        every_seconds: How often progress through the held-out problems is told where there is no bar.
    """

    def __init__(
        self,
        max_steps: int,
        updates_per_iteration: int | None = None,
        console: Console | None = None,
        done_steps: int = 0,
        began: float | None = None,
        every_seconds: float = 5.0,
    ):
        self.console = console or Console()
        self.updates = updates_per_iteration or 1
        self.unit = "update" if updates_per_iteration is None else "iteration"
        self.total = -(-max_steps // self.updates)
        self.every = every_seconds
        self._bar: Progress | None = None
        self._doing, self._since, self._told = "", time.monotonic(), time.monotonic()
        self._figures: dict[str, list[float]] = {}
        self._shown = done_steps // self.updates
        self._began = time.time() if began is None else began
        self._seconds: list[float] = []

    def doing(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Say what goes on now: in the bar at once, else in a line every few seconds if it has a count.

        Args:
            text: A few words.
            done: How much of it is done,
            total: And how much there is to do.
        """
        now = time.monotonic()
        if text != self._doing:
            self._doing, self._since, self._told = text, now, now
        count = f" {done}/{total}" if total is not None else ""
        if self.console.is_terminal:
            self._show_bar(text + count)
        elif count and done != total and now - self._told >= self.every:
            self._told = now
            self._print(f"{text}{count}")

    def show(self, line: dict[str, Any]) -> None:
        """Take in one line of metrics.jsonl.

        Args:
            line: `step`, `iteration`, `seconds` since the epoch, and figures.
        """
        held_out = _texts(_HELD_OUT, {key: [line[key]] for key in _HELD_OUT if isinstance(line.get(key), float)})
        if held_out:
            place = f"held-out after {self.unit} {line['step'] / self.updates:g}/{self.total}"
            self._print("  ".join([place, *held_out]))
            self._began = line["seconds"]  # the next iteration begins now
            return
        for key in _SHOWN:
            if isinstance(line.get(key), int | float):
                self._figures.setdefault(key, []).append(line[key])
        if self._figures and line["step"] % self.updates == 0:
            self._finish_iteration(line)

    def _finish_iteration(self, line: dict[str, Any]) -> None:
        done = line["step"] // self.updates
        each = (line["seconds"] - self._began) / max(1, done - self._shown)
        self._seconds, self._began, self._shown = [*self._seconds[-9:], each], line["seconds"], done
        if self.unit == "iteration":
            self._figures.pop("loss", None)
        texts = [f"{self.unit} {done:{len(str(self.total))}}/{self.total}", *_texts(_SHOWN, self._figures)]
        self._figures = {}
        texts.append(f"ETA {self._eta()}")
        # In a narrow terminal, or one that several jobs share, the last figures are the first that can be missed.
        while len("  ".join(texts)) > min(COLUMNS, self.console.width) and len(texts) > 3:
            texts.pop(-2)
        self._print("  ".join(texts))
        if self._bar is not None:
            self._show_bar(self._doing)

    def _eta(self) -> str:
        left = sum(self._seconds) / len(self._seconds) * (self.total - self._shown)
        return duration(left)

    def _print(self, text: str) -> None:
        # Whole, whatever the width: words in brackets are text, and a log can be searched for what stands in one line.
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _show_bar(self, text: str) -> None:
        if self._bar is None:
            columns = (
                BarColumn(bar_width=8),
                TextColumn(f"{{task.completed}}/{{task.total}} {self.unit}s "),
                TextColumn("{task.description}"),
                _Since(lambda: self._since),
                TextColumn(" {task.fields[eta]}"),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._bar.add_task("", total=self.total, eta="")
        eta = f"ETA {self._eta()}" if self._seconds else ""
        self._bar.update(self._bar.task_ids[0], completed=self._shown, description=text, eta=eta)
        self._bar.start()

    def close(self) -> None:
        """Take the bar away; the lines stay."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _Since(ProgressColumn):
    """How long the thing that goes on now has been going on."""

    def __init__(self, since: Any):
        super().__init__()
        self.since = since

    def render(self, task: Task) -> Text:
        return Text(duration(time.monotonic() - self.since()))


def duration(seconds: float) -> str:
    """Return a duration in few letters, such as `47 s`, `12 min` or `3.5 h`.

    Args:
        seconds: The duration.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _texts(shown: dict[str, str], figures: dict[str, list[float]]) -> list[str]:
    means = {key: sum(values) / len(values) for key, values in figures.items()}
    return [
        text.format(_tokens(means[key]) if "length" in key else means[key])
        for key, text in shown.items()
        if key in means
    ]


def _tokens(mean: float) -> str:
    return f"{mean:.1f}" if mean < 100 else f"{mean:.0f}"
