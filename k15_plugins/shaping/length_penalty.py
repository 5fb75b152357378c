"""Kimi k1.5's length reward, computed inside the group of each problem, in tokens (paper 2.3.3)."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from k15_plugins.numbers import check_numbers, check_whole_numbers
from k15_plugins.objective import check_groups


def length_reward(lengths_N: Tensor, correct_N: Tensor, num_generations: int) -> Tensor:
    """Return the length reward of every rollout (paper 2.3.3).

    lambda = 0.5 - (len - min_len) / (max_len - min_len), with min_len and max_len over all k responses of the problem,
    right and wrong. A right response gets lambda, a wrong one min(0, lambda); where all k have one length, all get 0.

    Args:
        lengths_N: Lengths of the responses in tokens, groups next to each other, shape (N,).
        correct_N: Whether the final answer is right, shape (N,), bool.
        num_generations: k, the rollouts of a problem; divides N.

    Returns:
        float32, shape (N,), in [-0.5, 0.5].

    Raises:
        ValueError: If N is not divisible by k, the shapes differ, a length is negative, or `correct_N` holds rewards.
    """
    check_groups("lengths_N", lengths_N, num_generations)
    if not isinstance(correct_N, Tensor):
        raise ValueError(
            f"correct_N must be a tensor of shape (N,), got a {type(correct_N).__name__}; give "
            "torch.tensor(correct_N)."
        )
    if correct_N.shape != lengths_N.shape:
        raise ValueError(
            f"correct_N must have the shape of lengths_N, {tuple(lengths_N.shape)}, got {tuple(correct_N.shape)}; "
            "give one verdict for each response."
        )
    if correct_N.is_floating_point():
        raise ValueError(
            f"correct_N must be bool, got {correct_N.dtype}; compare the rewards with a threshold, as rewards >= 0.5."
        )
    good_N = (lengths_N >= 0) & lengths_N.isfinite()
    if not bool(good_N.all()):
        raise ValueError(
            f"lengths_N must be 0 or more tokens, got {lengths_N[~good_N][0].item()}; give the numbers of tokens."
        )
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
        iteration: The current iteration, from 0.
        warmup_iterations: Iterations without the length reward.
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
        warmup_steps: Optimizer steps without the length reward; a trainer's iteration is
            `steps_per_generation * num_iterations / gradient_accumulation_steps` of them.
        threshold: Rewards from here on count as right.

    Raises:
        ValueError: If `final_reward` is no function that gives rewards at once, or a number is out of its range.
    """

    def __init__(
        self,
        final_reward: Callable[..., list[float | None]],
        num_generations: int,
        *,
        warmup_steps: int = 0,
        threshold: float = 0.5,
    ):
        if inspect.isclass(final_reward) or not callable(final_reward):
            raise ValueError(
                f"final_reward must be a reward function, got {final_reward!r:.100}; give the function or object."
            )
        if inspect.iscoroutinefunction(final_reward) or inspect.iscoroutinefunction(type(final_reward).__call__):
            raise ValueError(
                "final_reward must give its rewards at once, and this function is asynchronous; take "
                "MirrorDescentTrainer, whose length_penalty_weight takes any."
            )
        check_whole_numbers(num_generations=num_generations, warmup_steps=warmup_steps)
        check_numbers(threshold=threshold)
        if not math.isfinite(threshold):
            raise ValueError(f"threshold must be a finite number, got {threshold}; take 0.5, say.")
        if num_generations < 1:
            raise ValueError(f"num_generations must be 1 or more, got {num_generations}; set that of GRPOConfig.")
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must be 0 or more, got {warmup_steps}; set 0 for none.")
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
            ValueError: If a group straddles processes.
        """
        k = self.num_generations
        groups = [prompts[start : start + k] for start in range(0, len(prompts), k)]
        if len(prompts) % k or any(prompt != group[0] for group in groups for prompt in group):
            raise ValueError(
                f"GroupLengthReward got {len(prompts)} rollouts that are not whole groups of num_generations={k}, for "
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
