"""Progress of a run on the terminal: a bar where there is a terminal, a line an iteration elsewhere."""

from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_SHOWN = {
    "reward": "reward {:.3f}",
    "k15/accuracy": "accuracy {:.3f}",
    "completions/mean_length": "tokens {:.1f}",
    "k15/rho_abs_mean": "|rho| {:.3f}",
}
_HELD_OUT = {
    "eval_k15/accuracy": "accuracy {:.3f}",
    "eval_completions/mean_length": "tokens {:.1f}",
}


class Terminal:
    """Shows the figures of each iteration when it is done.

    Args:
        max_steps (`int`): Updates of the whole run.
        console (`Console`, *optional*): Where to write; defaults to standard output.

    Attributes:
        updates_per_iteration (`int`): To be set before the first figures are shown.
    """

    def __init__(self, max_steps: int, console: Console | None = None):
        self.max_steps = max_steps
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.updates_per_iteration = 1
        self._bar: Progress | None = None
        self._figures: dict[str, list[float]] = {}
        self._began: float | None = None
        self._seconds: list[float] = []

    def show(self, line: dict[str, Any]) -> None:
        """Take in one line of metrics.jsonl.

        Args:
            line (`dict`): `step`, `iteration`, `seconds` since the epoch, and figures.
        """
        held_out = _texts(_HELD_OUT, {key: [line[key]] for key in _HELD_OUT if isinstance(line.get(key), float)})
        if held_out:
            self.console.print(f"held-out after {line['step']} updates: {held_out}")
            self._began = line["seconds"]  # the next iteration begins now
            return
        if self._began is None:
            self._began = line["seconds"] - line.get("step_time", 0.0)
        for key in _SHOWN:
            if isinstance(line.get(key), int | float):
                self._figures.setdefault(key, []).append(line[key])
        if self._figures and line["step"] % self.updates_per_iteration == 0:
            self._finish_iteration(line)

    def _finish_iteration(self, line: dict[str, Any]) -> None:
        assert self._began is not None
        self._seconds = [*self._seconds[-9:], line["seconds"] - self._began]
        self._began = line["seconds"]
        done = line["step"] // self.updates_per_iteration
        total = -(-self.max_steps // self.updates_per_iteration)
        eta = timedelta(seconds=round(sum(self._seconds) / len(self._seconds) * (total - done)))
        text = f"{_texts(_SHOWN, self._figures)}  {self._seconds[-1]:.1f} s/iteration  ETA {eta}"
        self._figures = {}
        if not self.console.is_terminal:
            self.console.print(f"iteration {done}/{total}  {text}")
            return
        if self._bar is None:
            columns = (TextColumn("iteration"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=self.console)
            self._bar.add_task("", total=total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, description=text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _texts(shown: dict[str, str], figures: dict[str, list[float]]) -> str:
    means = {key: sum(values) / len(values) for key, values in figures.items()}
    return "  ".join(text.format(means[key]) for key, text in shown.items() if key in means)
