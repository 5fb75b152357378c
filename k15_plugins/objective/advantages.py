"""What a rollout's reward is compared with, and which rollouts stay in the loss (paper 2.3.2).

Shapes: N rollouts in rank-major order with the k rollouts of a problem next to each other.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from k15_plugins.objective.groups import check_groups


def baseline(
    rewards_N: Tensor,
    num_generations: int,
    kind: Literal["mean", "log_mean_exp"] = "mean",
    *,
    tau: float | None = None,
    leave_one_out: bool = False,
) -> Tensor:
    """Return the estimate of tau log Z for every rollout from the k rollouts of its problem (paper 2.3.2).

    Rewards that are NaN (no verdict) are left out; a problem without any other reward gives NaN.

    Args:
        rewards_N: Rewards of the rollouts, groups next to each other, shape (N,).
        num_generations: k, the rollouts of a problem; divides N.
        kind: `"mean"`, the paper's practical choice; `"log_mean_exp"`, tau log (1/k) sum_j exp(r_j / tau).
        tau: Temperature of `"log_mean_exp"`, > 0.
        leave_one_out: Leave the rollout itself out of its own estimate.

    Returns:
        Shape (N,).

    Raises:
        ValueError: If `kind="log_mean_exp"` comes without a `tau` > 0, `kind` is unknown, or N is not divisible by k.
    """
    if kind not in ("mean", "log_mean_exp"):
        raise ValueError(f"kind must be one of mean, log_mean_exp, got {kind!r}; set mean, say.")
    if kind == "log_mean_exp" and tau is not None and not 0 < tau < math.inf:
        raise ValueError(f"tau must be above 0, got {tau}; set the tau of the training.")
    check_groups("rewards_N", rewards_N, num_generations)
    rewards_GK = rewards_N.view(-1, num_generations)
    counted_GKK = ~rewards_GK.isnan().unsqueeze(1).expand(-1, num_generations, -1)
    if leave_one_out:
        counted_GKK = counted_GKK & ~torch.eye(num_generations, dtype=torch.bool, device=rewards_N.device)
    number_GK = counted_GKK.sum(dim=2)
    if kind == "mean":
        sum_GK = torch.where(counted_GKK, rewards_GK.unsqueeze(1), 0.0).sum(dim=2)
        return (sum_GK / number_GK).view(-1)
    if tau is None:
        raise ValueError("tau is missing; kind='log_mean_exp' is tau log mean exp(r / tau).")
    exponents_GKK = torch.where(counted_GKK, rewards_GK.unsqueeze(1) / tau, -torch.inf)
    log_mean_exp_GK = torch.logsumexp(exponents_GKK, dim=2) - number_GK.to(rewards_N.dtype).log()
    return (tau * log_mean_exp_GK).view(-1)


def rest_advantages(rewards_N: Tensor, num_generations: int) -> Tensor:
    """Return 1 for the best rollouts of each problem and 0 for the rest: ReST, the paper's comparison (3.5).

    With tau = 0 the loss is then the log-likelihood of the best responses, without negative gradients. A problem whose
    best reward is not positive gives nothing to imitate.

    Args:
        rewards_N: Rewards of the rollouts, groups next to each other, shape (N,).
        num_generations: k, the rollouts of a problem.

    Returns:
        Shape (N,), 0 or 1.

    Raises:
        ValueError: If N is not divisible by k.
    """
    check_groups("rewards_N", rewards_N, num_generations)
    rewards_GK = rewards_N.view(-1, num_generations).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    best_G1 = rewards_GK.max(dim=1, keepdim=True).values
    return ((rewards_GK == best_G1) & (best_G1 > 0)).to(rewards_N.dtype).view(-1)


def keep_after_drop(advantages_N: Tensor, drop_probability: float, generator: torch.Generator) -> Tensor:
    """Drop rollouts with a negative advantage at random, as Kimina-Prover does against the collapse of formats.

    The dropped rollouts leave the loss whole, penalty included; the number that the loss is divided by stays.

    Args:
        advantages_N: Shape (N,).
        drop_probability: omega, the probability that a rollout with A < 0 is dropped.
        generator: Source of the randomness, on the CPU, equal on all ranks.

    Returns:
        1 for the rollouts that stay, 0 for the dropped, shape (N,).

    Raises:
        ValueError: If `drop_probability` is no probability, or `advantages_N` has not one dimension.
    """
    if not 0 <= drop_probability <= 1:
        raise ValueError(f"drop_probability must be from 0 to 1, got {drop_probability}; set 0 to drop none.")
    check_groups("advantages_N", advantages_N, 1)
    draws_N = torch.rand(advantages_N.shape, generator=generator).to(advantages_N.device)
    return (~((advantages_N < 0) & (draws_N < drop_probability))).to(advantages_N.dtype)


def is_in_group_of_equals(rewards_N: Tensor, num_generations: int) -> Tensor:
    """Tell of each rollout whether all rewards of its problem are equal, those without a verdict aside.

    Args:
        rewards_N: Rewards of the rollouts, NaN where there is no verdict, groups next to each other, shape (N,).
        num_generations: k, the rollouts of a problem.

    Returns:
        Bool, shape (N,).
    """
    rewards_GK = rewards_N.view(-1, num_generations)
    lowest_G1 = rewards_GK.nan_to_num(nan=torch.inf).min(dim=1, keepdim=True).values
    highest_G1 = rewards_GK.nan_to_num(nan=-torch.inf).max(dim=1, keepdim=True).values
    return (lowest_G1 >= highest_G1).expand_as(rewards_GK).reshape(-1)
