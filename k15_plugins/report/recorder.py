"""What a run leaves behind while it trains: metrics.jsonl, rollouts.jsonl, and its progress on the terminal."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import has_length
from trl import GRPOConfig

from k15_plugins.files.jsonl import Line, append_lines, read_lines
from k15_plugins.report.history import HELD_OUT, METRICS, ROLLOUTS
from k15_plugins.report.terminal import Terminal

KEPT_HELD_OUT = 16
"""Held-out problems whose answers are kept at every evaluation."""

_MEASURING = "measuring held-out problems"
_ROLLOUTS, _UPDATES, _SAVING = "writing rollouts", "updating the model", "saving a checkpoint"


class RunRecorder(TrainerCallback):
    """Writes every logged figure and every rollout of a run to its folder, line by line and at once.

    On resume, the lines that lie after the checkpoint are dropped: the run writes them again.

    Args:
        run_dir: Folder for `metrics.jsonl` (a line a log: `step`, `iteration`, `seconds` since the
            epoch and the figures) and `rollouts.jsonl` (a line a rollout, as `SampledGRPOTrainer` tells them, with the
            problem's `level` and `answer` where it has them) and `held_out.jsonl` (a line for each of the first
            `KEPT_HELD_OUT` problems of every evaluation).
    """

    def __init__(self, run_dir: str | Path):
        self.metrics = Path(run_dir) / METRICS
        self.rollouts = Path(run_dir) / ROLLOUTS
        self.held_out = Path(run_dir) / HELD_OUT
        self._evaluated_at: int | None = None
        self._kept: set[str] = set()
        self.terminal: Terminal | None = None
        self.iteration = 0
        self._measured = 0
        self._next = _ROLLOUTS

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
        _keep(self.held_out, lambda line: 0 < reached >= line["step"])
        self.iteration = max((line["iteration"] for line in kept), default=0)
        updates = None
        if isinstance(args, GRPOConfig):  # else it is a training without rollouts, supervised say
            assert args.steps_per_generation is not None
            updates = max(1, args.steps_per_generation * args.num_iterations // args.gradient_accumulation_steps)
        self.terminal = Terminal(state.max_steps, updates, done_steps=reached)
        self._next = _UPDATES if updates is None else _ROLLOUTS
        self.terminal.doing(_MEASURING if args.eval_on_start else self._next)

    def on_rollouts(self, trainer: Any, rollouts: list[dict[str, Any]]) -> None:
        """Write the rollouts of an iteration; the trainer calls this on the main process.

        Args:
            trainer: The trainer.
            rollouts: Its rollouts, see `SampledGRPOTrainer`.
        """
        self.iteration = trainer.iteration
        data = trainer.train_dataset
        for name in ("level", "answer"):
            if name not in (data.column_names or []):
                continue
            column = data[name]
            for rollout in rollouts:
                if rollout["problem"] is not None:
                    rollout[name] = column[rollout["problem"]]
        append_lines(self.rollouts, rollouts)
        if self.terminal is not None:
            self.terminal.doing(_UPDATES)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say what comes after an update."""
        if self.terminal is None:
            return
        if control.should_evaluate:
            self.terminal.doing(_MEASURING)
        elif control.should_save:
            self.terminal.doing(_SAVING)
        elif state.global_step % self.terminal.updates == 0:
            self.terminal.doing(self._next)

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Show how many of the held-out problems are done."""
        if self.terminal is None or not has_length(eval_dataloader):
            return
        loader: Any = eval_dataloader
        self._measured += 1
        problems, batches = len(loader.dataset), len(loader)
        self.terminal.doing(_MEASURING, problems * self._measured // batches, problems)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say what comes after the held-out problems."""
        self._measured = 0
        if self.terminal is not None:
            self.terminal.doing(_SAVING if control.should_save else self._next)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Say what comes after a checkpoint."""
        if self.terminal is not None:
            self.terminal.doing(self._next)

    def on_held_out(self, trainer: Any, rollouts: list[dict[str, Any]]) -> None:
        """Write the first rollout of each of the first problems of an evaluation; the trainer calls this.

        Args:
            trainer: The trainer.
            rollouts: Rollouts of a batch of held-out problems, see `SampledGRPOTrainer`.
        """
        step, per_iteration = trainer.state.global_step, _updates_per_iteration(trainer)
        if self._evaluated_at != step:
            self._evaluated_at, self._kept = step, set()
        lines = []
        for rollout in rollouts:
            if len(self._kept) < KEPT_HELD_OUT and str(rollout["prompt"]) not in self._kept:
                self._kept.add(str(rollout["prompt"]))
                lines.append({"step": step, "iteration": step // per_iteration, **rollout})
        append_lines(self.held_out, lines)

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
        append_lines(self.metrics, [line])
        self.terminal.show(line)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.terminal is not None:
            self.terminal.close()


def _updates_per_iteration(trainer: Any) -> int:
    return trainer.micro_steps_per_iteration // trainer.args.gradient_accumulation_steps


def _keep(path: Path, wanted: Callable[[Line], bool]) -> list[Line]:
    """Leave only the wanted lines in a file, which is replaced at once or not at all."""
    kept = [line for line in read_lines(path) if wanted(line)]
    if path.exists():
        half = path.with_suffix(".half")
        half.unlink(missing_ok=True)
        append_lines(half, kept)
        half.replace(path)
    return kept
