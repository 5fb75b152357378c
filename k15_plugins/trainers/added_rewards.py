"""Rewards that need the whole group and so come after the gather: the length reward and the repetition penalty.

Each is one more column beside the user's reward functions, so that TRL weighs and logs it like the others.
"""

from typing import Any

import torch
from torch import Tensor

from k15_plugins.shaping import length_penalty_is_on, length_reward
from k15_plugins.trainers.iteration import Iteration

ADDED_REWARDS = {"length_reward": "length_penalty_weight", "repetition_penalty": "repetition_penalty_weight"}
"""Column, and the option that is its weight."""


def add_rewards(trainer: Any) -> None:
    """Give a trainer the columns whose weights are above 0.

    Args:
        trainer: A `MirrorDescentTrainer`.
    """
    for name, option in ADDED_REWARDS.items():
        weight = getattr(trainer.args, option)
        if weight > 0:
            add_column(trainer, name, weight)


def add_column(trainer: Any, name: str, weight: float) -> None:
    """Give a trainer a column that holds 0 until it is filled after the gather.

    Args:
        trainer: A `MirrorDescentTrainer`.
        name: Of the column.
        weight: Of the column in the reward.
    """
    trainer.reward_funcs = [*trainer.reward_funcs, _comes_after_the_gather]
    trainer.reward_func_names = [*trainer.reward_func_names, name]
    trainer.reward_processing_classes = [*trainer.reward_processing_classes, None]
    weights = trainer.reward_weights
    trainer.reward_weights = torch.cat([weights, weights.new_tensor([weight])])


def fill_added_rewards(trainer: Any, rewards_NF: Tensor, now: Iteration) -> None:
    """Compute the columns from the verdicts, in place; the length reward only in training, after its warm-up.

    Args:
        trainer: A `MirrorDescentTrainer`.
        rewards_NF: Rewards of N rollouts by F functions; the added columns hold 0.
        now: The record of the iteration, with verdicts.
    """
    args, verdicts, training = trainer.args, now.verdicts, trainer.model.training
    if trainer.repetition is not None:
        repetitions = verdicts.repeats_N.float().mean().item()
        trainer._metrics["train" if training else "eval"]["k15/repetitions"].append(repetitions)
    if args.length_penalty_weight > 0:
        column = trainer.reward_func_names.index("length_reward")
        if training and length_penalty_is_on(now.number, args.length_penalty_warmup_iterations):
            correct_N = verdicts.correct_N & verdicts.scorable_N
            rewards_NF[:, column] = length_reward(verdicts.lengths_N, correct_N, trainer.num_generations)
        rewards_NF[~verdicts.scorable_N, column] = torch.nan
    if args.repetition_penalty_weight > 0:
        column = trainer.reward_func_names.index("repetition_penalty")
        rewards_NF[:, column] = -verdicts.repeats_N.to(rewards_NF.dtype)
        rewards_NF[~verdicts.scorable_N, column] = torch.nan


def _comes_after_the_gather(prompts: list, **_: Any) -> list[float]:
    return [0.0] * len(prompts)
