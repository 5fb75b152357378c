"""A final and a process reward as one: lambda * final + (1 - lambda) * process, lambda set inside a group.

Not in the paper, which gives no credit for steps; see `docs/rewards.md`. NaN stands for no verdict throughout.
"""

import torch
from torch import Tensor

from k15_plugins.objective import check_groups


def dual_lambda(
    correct_N: Tensor, scorable_N: Tensor, num_generations: int, low: float = 0.3, high: float = 0.7
) -> Tensor:
    """Return the share of the final reward: low + (high - low) * (share of right answers in the group).

    Where all fail it is the steps that tell rollouts apart, where all succeed it is the answer. It is equal in a whole
    group, so that no rollout gains by moving it. `low` equal to `high` fixes it.

    Args:
        correct_N: Whether the final answer is right, groups next to each other, shape (N,), bool.
        scorable_N: Whether there is a verdict on it, shape (N,), bool; the others do not enter the share.
        num_generations: k, the rollouts of a problem; divides N.
        low: lambda of a group without a right answer.
        high: lambda of a group of right answers.

    Returns:
        float32, shape (N,), in [low, high]; `low` where a group has no verdict at all.

    Raises:
        ValueError: If N is not divisible by k, the shapes differ, or not 0 <= low <= high <= 1.
    """
    check_groups("correct_N", correct_N, num_generations)
    _check_shape("scorable_N", scorable_N, "correct_N", correct_N)
    check_lambda(low, high)
    right_G = (correct_N & scorable_N).view(-1, num_generations).sum(dim=1)
    judged_G = scorable_N.view(-1, num_generations).sum(dim=1)
    share_G = right_G / judged_G.clamp(min=1)
    return (low + (high - low) * share_G).clamp(low, high).repeat_interleave(num_generations)


def dual_reward(final_N: Tensor, process_N: Tensor, lambda_N: Tensor) -> Tensor:
    """Return lambda * final + (1 - lambda) * process; the final reward alone where there is no process score.

    Args:
        final_N: Final rewards in [0, 1], shape (N,); NaN where there is no verdict.
        process_N: Process scores in [0, 1], shape (N,); NaN where there is none.
        lambda_N: Share of the final reward in [0, 1], shape (N,); see `dual_lambda`.

    Returns:
        Shape (N,), in [0, 1]; NaN where there is no final verdict.

    Raises:
        ValueError: If the shapes differ, or a number is outside [0, 1].
    """
    for name, values_N in (("process_N", process_N), ("lambda_N", lambda_N)):
        _check_shape(name, values_N, "final_N", final_N)
    for name, values_N in (("final_N", final_N), ("process_N", process_N), ("lambda_N", lambda_N)):
        outside_N = (values_N < 0) | (values_N > 1)
        if bool(outside_N.any()):
            raise ValueError(f"{name} must be from 0 to 1, got {values_N[outside_N][0].item():g}; scale it.")
    mixed_N = lambda_N * final_N + (1 - lambda_N) * process_N
    return torch.where(process_N.isnan(), final_N, mixed_N)


def right_above_wrong(rewards_N: Tensor, correct_N: Tensor) -> Tensor:
    """Raise the rewards of right answers to 0.5 at least, and lower those of wrong answers to 0.5 at most.

    With lambda below 0.5, a wrong answer behind perfect steps is worth more than a right one behind none.

    Args:
        rewards_N: Dual rewards, shape (N,); NaN stays.
        correct_N: Whether the final answer is right, shape (N,), bool.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_shape("correct_N", correct_N, "rewards_N", rewards_N)
    return torch.where(correct_N, rewards_N.clamp(min=0.5), rewards_N.clamp(max=0.5))


def check_lambda(low: float, high: float, low_name: str = "low", high_name: str = "high") -> None:
    """Refuse bounds of lambda that are not 0 <= low <= high <= 1.

    Args:
        low: The lower bound.
        high: The upper bound.
        low_name: Its name, for the message.
        high_name: The same.

    Raises:
        ValueError: With both values.
    """
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"{low_name} and {high_name} must be 0 <= {low_name} <= {high_name} <= 1, got {low} and {high}; take 0.3 "
            "and 0.7, say."
        )


def _check_shape(name: str, values_N: Tensor, of_name: str, of_N: Tensor) -> None:
    if values_N.shape != of_N.shape:
        raise ValueError(
            f"{name} must have the shape of {of_name}, {tuple(of_N.shape)}, got {tuple(values_N.shape)}; give one "
            "number for each response."
        )
