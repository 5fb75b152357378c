"""Learning-rate warm-up inside each iteration."""

from typing import Any

from transformers import TrainerCallback


class IterationWarmup(TrainerCallback):
    """Scale the learning rate of the first updates of every iteration by 1/n, 2/n ... 1, n = `lr_warmup_updates`.

    After a reset, the first step of Adam is full-sized whatever the gradient. The scheduler's learning rate is put
    back after each step, so that it stays the scheduler's, in the logs as well.

    Args:
        trainer: A `MirrorDescentTrainer`.
    """

    def __init__(self, trainer: Any):
        self.trainer = trainer
        self.scheduled: list[float] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Lower the learning rate for the step that follows."""
        groups = self.trainer.optimizer.param_groups
        self.scheduled = [group["lr"] for group in groups]
        update = state.global_step % args.updates_per_iteration
        for group in groups:
            group["lr"] *= min(1.0, (update + 1) / args.lr_warmup_updates)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the scheduler's learning rate back."""
        for group, lr in zip(self.trainer.optimizer.param_groups, self.scheduled, strict=True):
            group["lr"] = lr
