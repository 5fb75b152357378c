"""A GRPOTrainer that goes on from a checkpoint as if nothing had happened, on the CPU bit by bit."""

from typing import Any

import torch
from accelerate.utils import gather, send_to_device
from transformers.trainer_utils import rotate_checkpoints

from k15_plugins.trainers.checkpoint import (
    begin_checkpoint,
    check_checkpoint,
    latest_checkpoint,
    state_file,
    write_manifest,
)
from k15_plugins.trainers.interrupt import saved_when_interrupted
from k15_plugins.trainers.update_guard import GuardedGRPOTrainer


class ResumableGRPOTrainer(GuardedGRPOTrainer):
    """`GRPOTrainer` whose checkpoints hold the rollouts of an unfinished iteration and the place in it.

    A subclass adds what else its training depends on by `_state_dict` and `_load_state_dict`. A checkpoint that is not
    whole, or was made with another layout, is refused before anything is loaded from it.

    Raises:
        ValueError: If `save_only_model` would leave checkpoints that cannot be resumed from.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.args.save_only_model and self.args.save_strategy != "no":
            raise ValueError("save_only_model=True leaves checkpoints that cannot be resumed from; leave it out.")
        self._running_loss: tuple[float, int] | None = None
        self._resumed_at: int | None = None

    @property
    def micro_steps_per_iteration(self) -> int:
        """Micro-steps (forward and backward passes) on the rollouts of one iteration."""
        return self.args.steps_per_generation * self.num_iterations

    @property
    def iteration(self) -> int:
        """The current iteration, from 0."""
        return self._step // self.micro_steps_per_iteration

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Train as `GRPOTrainer.train`; an unusable checkpoint is refused before anything is loaded from it.

        From the checkpoint of a complete training, everything is loaded and nothing is trained or logged.

        Args:
            resume_from_checkpoint: Folder of a checkpoint, or True for the newest complete one in `args.output_dir`.
            **kwargs: As `transformers.Trainer.train`.

        Raises:
            ValueError: If the checkpoint is missing, foreign, truncated, or was made with another layout.
            TrainingStopped: After three updates in a row that were not finite.
            KeyboardInterrupt: After Ctrl-C or SIGTERM; the first lets the update at hand end, and saves a checkpoint.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = latest_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ValueError(
                    f"output_dir={self.args.output_dir} holds no complete checkpoint to resume from; give "
                    "another folder, or start without resuming."
                )
        if resume_from_checkpoint:
            resume_from_checkpoint = str(resume_from_checkpoint)
            check_checkpoint(resume_from_checkpoint, self._layout())
        # Of a training before this one.
        self._step, self._buffered_inputs, self._resumed_at = 0, None, None
        with saved_when_interrupted(self):
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _run_epoch(self, **kwargs: Any) -> None:  # type: ignore[override]
        if self._running_loss is not None:
            # transformers clears its sums when it begins; they count the updates since the last log.
            loss, self._globalstep_last_logged = self._running_loss
            self._tr_loss = torch.tensor(loss, device=self.args.device)
            # The mean loss that it tells at the end is about the updates of this call alone.
            self._total_loss_scalar = -gather(self._tr_loss).mean().item()
            self._running_loss = None
        # It looks at max_steps only after an update.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as `GRPOTrainer.log`, but not the sum of a training that had nothing left to do."""
        if "train_runtime" in logs and self.state.global_step == self._resumed_at:
            return
        super().log(logs, start_time)

    def _layout(self) -> dict[str, Any]:
        return {
            "trainer": type(self).__name__,
            "processes": self.accelerator.num_processes,
            "per_device_train_batch_size": self._train_batch_size,
            "gradient_accumulation_steps": self.args.gradient_accumulation_steps,
            "steps_per_generation": self.args.steps_per_generation,
            "num_iterations": self.num_iterations,
            "num_generations": self.num_generations,
            "seed": self.args.seed,
        }

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = f"{self._get_output_dir(trial=trial)}/checkpoint-{self.state.global_step}"
        if self.args.should_save:
            begin_checkpoint(folder)
        # One older checkpoint more than wanted stays until this one is complete.
        limit = self.args.save_total_limit
        self.args.save_total_limit = limit + 1 if limit else limit
        super()._save_checkpoint(model, trial)
        self.args.save_total_limit = limit
        torch.save(self._state_dict(), state_file(folder, self.accelerator.process_index))
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            write_manifest(folder, self._layout())
            rotate_checkpoints(
                output_dir=self._get_output_dir(trial=trial),
                save_total_limit=limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )

    def _state_dict(self) -> dict[str, Any]:
        """Return what the rest of the training depends on beside what transformers saves."""
        in_iteration = self._step % self.micro_steps_per_iteration != 0
        return {
            "step": self._step,
            "rollouts": self._buffered_inputs if in_iteration else None,
            "running_loss": (self._tr_loss.item(), self._globalstep_last_logged),
            "metrics": {name: list(values) for name, values in self._metrics["train"].items()},
            "skipped_in_a_row": self._guard.in_a_row,
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `_state_dict` returned."""
        self._step = state["step"]
        self._buffered_inputs = send_to_device(state["rollouts"], self.accelerator.device)
        self._running_loss = state["running_loss"]
        self._guard.in_a_row = state["skipped_in_a_row"]
        self._resumed_at = self.state.global_step
        for name, values in state["metrics"].items():
            self._metrics["train"][name] = values

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = state_file(checkpoint, self.accelerator.process_index)
        # torch knows no place "cpu:0", which is what accelerate calls the device of a process without an accelerator.
        state = torch.load(path, map_location="cpu", weights_only=False)
        self._load_state_dict(state)
