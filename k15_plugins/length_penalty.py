"""Kimi k1.5's length reward, computed inside the group of each problem, in tokens (paper 2.3.3)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def length_reward(lengths_N: Tensor, correct_N: Tensor, num_generations: int) -> Tensor:
    """Return the length reward of every rollout (paper 2.3.3).

    lambda = 0.5 - (len - min_len) / (max_len - min_len), with min_len and max_len over all k responses of the problem,
    right and wrong. A right response gets lambda, a wrong one min(0, lambda); where all k have one length, all get 0.

    Args:
        lengths_N: lengths of the responses in tokens, groups next to each other, shape (N,).
        correct_N: whether the final answer is right, shape (N,), bool.
        num_generations: k, the rollouts of a problem; divides N.

    Returns:
        float32, shape (N,), in [-0.5, 0.5].
    """
    lengths_GK = lengths_N.view(-1, num_generations).float()
    correct_GK = correct_N.view(-1, num_generations).bool()
    shortest_G1 = lengths_GK.min(dim=1, keepdim=True).values
    span_G1 = lengths_GK.max(dim=1, keepdim=True).values - shortest_G1
    lambda_GK = 0.5 - (lengths_GK - shortest_G1) / span_G1.clamp(min=1)
    reward_GK = torch.where(correct_GK, lambda_GK, lambda_GK.clamp(max=0.0))
    return torch.where(span_G1 > 0, reward_GK, 0.0).view(-1)


def length_penalty_is_on(iteration: int, warmup_iterations: int) -> bool:
    """Tell whether the length reward counts yet: off first, then constant for the rest, not a ramp (paper 2.3.3).

    Args:
        iteration: the current iteration, from 0.
        warmup_iterations: iterations without the length reward.
    """
    return iteration >= warmup_iterations


class GroupLengthReward:
    """The length reward as a reward function for a stock `GRPOTrainer`; its weight goes into `reward_weights`.

    A reward function sees only the rollouts of its own process, so the groups must lie whole on each process:
    `per_device_train_batch_size * steps_per_generation` divisible by `num_generations`. Nor does it see which tokens
    are the model's own: those of tools count too. `MirrorDescentTrainer` has no such limits.

    Args:
        final_reward: TRL reward function that says whether an answer is right; it is called once more here.
        num_generations: k, as in `GRPOConfig`.
        warmup_steps: optimizer steps without the length reward; a trainer's iteration is
            `steps_per_generation * num_iterations / gradient_accumulation_steps` of them.
        threshold: rewards from here on count as right.
    """

    def __init__(
        self,
        final_reward: Callable[..., list[float | None]],
        num_generations: int,
        *,
        warmup_steps: int = 0,
        threshold: float = 0.5,
    ):
        self.__name__ = "length_reward"
        self.final_reward = final_reward
        self.num_generations = num_generations
        self.warmup_steps = warmup_steps
        self.threshold = threshold

    def __call__(
        self, prompts: list, completions: list, completion_ids: list[list[int]], trainer_state: Any, **columns: Any
    ) -> list[float]:
        """Return the length rewards of this process's rollouts, in [-0.5, 0.5].

        Raises:
            ValueError: if a group straddles processes.
        """
        k = self.num_generations
        groups = [prompts[start : start + k] for start in range(0, len(prompts), k)]
        if len(prompts) % k or any(prompt != group[0] for group in groups for prompt in group):
            raise ValueError(
                f"GroupLengthReward got {len(prompts)} rollouts that are not whole groups of num_generations={k}: "
                "groups straddle processes; make per_device_train_batch_size * steps_per_generation divisible by "
                f"num_generations (for evaluation, set num_generations_eval={k}), or use MirrorDescentTrainer."
            )
        if not length_penalty_is_on(trainer_state.global_step, self.warmup_steps):
            return [0.0] * len(prompts)
        rewards = self.final_reward(
            prompts=prompts,
            completions=completions,
            completion_ids=completion_ids,
            trainer_state=trainer_state,
            **columns,
        )
        correct_N = torch.tensor([reward is not None and reward >= self.threshold for reward in rewards])
        lengths_N = torch.tensor([len(ids) for ids in completion_ids])
        return length_reward(lengths_N, correct_N, k).tolist()
