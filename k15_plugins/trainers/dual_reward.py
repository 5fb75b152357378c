"""The dual reward of a trainer: the final and the process reward of a group as one more column, after the gather."""

import logging
from collections import deque
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from k15_plugins.shaping import dual_lambda, dual_reward, right_above_wrong
from k15_plugins.trainers.added_rewards import add_column
from k15_plugins.trainers.iteration import Iteration

logger = logging.getLogger(__name__)


class DualReward:
    """Adds the column `dual_reward` to a trainer, and fills it.

    The final and the process reward keep their columns, at weight 0, so that both are logged. What needs right and
    wrong (success rates, the length reward) goes on looking at the final reward alone.

    Args:
        trainer: A `MirrorDescentTrainer` with a process reward.
    """

    NAME = "dual_reward"

    def __init__(self, trainer: Any):
        self._trainer = trainer
        self._final = trainer._final_reward_index
        self._process = trainer.reward_func_names.index(trainer.args.process_reward)
        weights = trainer.reward_weights.clone()
        weight = weights[self._final].item()
        weights[[self._final, self._process]] = 0.0
        trainer.reward_weights = weights
        self._column = len(weights)
        add_column(trainer, self.NAME, weight)
        self._watch = ProcessWatch()

    def fill(self, rewards_NF: Tensor, now: Iteration) -> None:
        """Compute the column from the verdicts, in place.

        A response without a verdict on its answer has no process score either: its row stays out. One without a
        process score has the final reward alone.

        Args:
            rewards_NF: Rewards of N rollouts by F functions; the column holds 0.
            now: The record of the iteration, with verdicts.

        Raises:
            ValueError: If a final reward is outside [0, 1].
        """
        trainer, args, verdicts = self._trainer, self._trainer.args, now.verdicts
        training = trainer.model.training
        k = trainer.num_generations if training else trainer.num_generations_eval
        final_N, process_N = rewards_NF[:, self._final], rewards_NF[:, self._process]
        process_N[~verdicts.scorable_N] = torch.nan
        self._check_final(final_N)
        lambda_N = dual_lambda(verdicts.correct_N, verdicts.scorable_N, k, args.dual_lambda_low, args.dual_lambda_high)
        mixed_N = dual_reward(final_N, process_N, lambda_N)
        rewards_NF[:, self._column] = right_above_wrong(mixed_N, verdicts.correct_N) if args.dual_ordered else mixed_N

        metrics = trainer._metrics["train" if training else "eval"]
        missing_N = process_N[verdicts.scorable_N].isnan()
        metrics["k15/lambda"] += lambda_N[::k].tolist()
        metrics["k15/process_score"] += process_N.tolist()
        metrics["k15/process_score_of_wrong"] += process_N[~verdicts.correct_N].tolist()
        metrics["k15/process_missing"] += missing_N.float().tolist()
        if training and trainer.accelerator.is_main_process:
            self._watch.see(process_N.nanmean().item(), final_N.nanmean().item())

    def _check_final(self, final_N: Tensor) -> None:
        outside_N = (final_N < 0) | (final_N > 1)
        if bool(outside_N.any()):
            name = self._trainer.reward_func_names[self._final]
            raise ValueError(
                f"the final reward {name} must be from 0 to 1 to be mixed with process_reward="
                f"{self._trainer.args.process_reward!r}, got {final_N[outside_N][0].item():g}; scale it, or leave "
                "process_reward out."
            )


class ProcessWatch:
    """Warns, once, when the process score rises while the final reward falls, as it does when it is gamed.

    It compares the means of two windows next to each other.

    Args:
        window: Iterations in a window.
        margin: By how much the one has to rise and the other to fall.
    """

    def __init__(self, window: int = 5, margin: float = 0.05):
        self.window = window
        self.margin = margin
        self._process: deque[float] = deque(maxlen=2 * window)
        self._final: deque[float] = deque(maxlen=2 * window)
        self._is_told = False

    def see(self, process: float, final: float) -> None:
        """Take in the means of an iteration.

        Args:
            process: Mean process score.
            final: Mean final reward.
        """
        self._process.append(process)
        self._final.append(final)
        if self._is_told or len(self._final) < 2 * self.window:
            return
        (process_before, process_now), (final_before, final_now) = self._means(self._process), self._means(self._final)
        if process_now - process_before < self.margin or final_before - final_now < self.margin:
            return
        self._is_told = True
        logger.warning(
            "the process score rose from %.2f to %.2f in the last %d iterations while the final reward fell from %.2f "
            "to %.2f: the process reward may be gamed; read some responses, raise dual_lambda_low and "
            "dual_lambda_high, or set dual_ordered=True",
            process_before,
            process_now,
            2 * self.window,
            final_before,
            final_now,
        )

    def _means(self, values: deque[float]) -> tuple[float, float]:
        listed = list(values)
        return fmean(listed[: self.window]), fmean(listed[self.window :])
