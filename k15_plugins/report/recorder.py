"""What a run leaves behind while it trains: metrics.jsonl, rollouts.jsonl, and its progress on the terminal."""

import json
import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from k15_plugins.report.history import METRICS, ROLLOUTS, read_lines
from k15_plugins.report.terminal import Terminal


class RunRecorder(TrainerCallback):
    """Writes every logged figure and every rollout of a run to its folder, line by line and at once.

    On resume, the lines that lie after the checkpoint are dropped: the run writes them again.

    Args:
        run_dir (`str` or `Path`): Folder for `metrics.jsonl` (a line a log: `step`, `iteration`, `seconds` since the
            epoch and the figures) and `rollouts.jsonl` (a line a rollout, as `SampledGRPOTrainer` tells them, with the
            problem's `level` where it has one).
    """

    def __init__(self, run_dir: str | Path):
        self.metrics = Path(run_dir) / METRICS
        self.rollouts = Path(run_dir) / ROLLOUTS
        self.terminal: Terminal | None = None
        self.iteration = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop what a resumed run will write again."""
        if not state.is_world_process_zero:
            return
        reached = state.global_step
        # The figures of a step are logged when it is done, the rollouts of an iteration when its first step begins.
        kept = _keep(self.metrics, lambda line: 0 < reached >= line["step"])
        _keep(self.rollouts, lambda line: line["step"] < reached)
        self.iteration = max((line["iteration"] for line in kept), default=0)
        self.terminal = Terminal(state.max_steps)

    def on_rollouts(self, trainer: Any, rollouts: list[dict[str, Any]]) -> None:
        """Write the rollouts of an iteration; the trainer calls this on the main process.

        Args:
            trainer (`SampledGRPOTrainer`): The trainer.
            rollouts (`list[dict]`): Its rollouts, see `SampledGRPOTrainer`.
        """
        assert self.terminal is not None
        self.iteration = trainer.iteration
        accumulated = trainer.args.gradient_accumulation_steps
        self.terminal.updates_per_iteration = trainer.micro_steps_per_iteration // accumulated
        data = trainer.train_dataset
        levels = data["level"] if "level" in (data.column_names or []) else None
        for rollout in rollouts:
            if levels is not None and rollout["problem"] is not None:
                rollout["level"] = levels[rollout["problem"]]
        _append(self.rollouts, rollouts)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the figures of a log and show those that matter."""
        if not state.is_world_process_zero or self.terminal is None:
            return
        line = {"step": state.global_step, "iteration": self.iteration, "seconds": round(time.time(), 2)}
        line |= logs or {}
        _append(self.metrics, [line])
        self.terminal.show(line)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the terminal as it was."""
        if self.terminal is not None:
            self.terminal.close()


def _append(path: Path, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(_plain(line), ensure_ascii=False) + "\n" for line in lines)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _keep(path: Path, wanted: Any) -> list[dict[str, Any]]:
    """Leave only the wanted lines in a file, which is replaced at once or not at all."""
    kept = [line for line in read_lines(path) if wanted(line)]
    if path.exists():
        half = path.with_suffix(".half")
        half.unlink(missing_ok=True)
        _append(half, kept)
        half.replace(path)
    return kept


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, which knows no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
