"""What is logged of rollouts and losses beside TRL's own figures; each name is explained in `docs/metrics.md`."""

from statistics import pstdev
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor

from k15_plugins.trainers.iteration import Iteration


def mean_over_processes(values: Tensor) -> float:
    """Return the mean over the values of all processes, of which each may have another number; 0 of none.

    Args:
        values: Of this process, any shape.
    """
    totals = gather(torch.stack([values.sum(), values.new_tensor(values.numel())]).unsqueeze(0)).sum(dim=0)
    return (totals[0] / totals[1].clamp(min=1)).item()


def log_verdicts(metrics: Any, now: Iteration, baseline_N: Tensor, num_generations: int) -> None:
    """Note each value by itself: TRL's mean is then one over all rollouts of an iteration, the spare ones too.

    Args:
        metrics: Lists by name, as `GRPOTrainer._metrics["train"]`.
        now: The record of the iteration, with verdicts.
        baseline_N: Estimate of tau log Z, shape (N,).
        num_generations: k, the rollouts of a problem.
    """
    accuracies = now.accuracies(num_generations)
    metrics["k15/baseline"] += baseline_N.tolist()
    metrics["k15/groups_all_right"] += [float(accuracy == 1) for accuracy in accuracies]
    metrics["k15/groups_all_wrong"] += [float(accuracy == 0) for accuracy in accuracies]


def log_groups(metrics: Any, drawn: list[Iteration], num_generations: int, dead_share: float) -> None:
    """Note how unlike the groups of an iteration are, the spare ones among them, and how many give no gradient.

    Args:
        metrics: Lists by name, as `GRPOTrainer._metrics["train"]`.
        drawn: The records of the iteration and of its refills.
        num_generations: k, the rollouts of a problem.
        dead_share: Share of the groups in the batch whose advantages are all 0.
    """
    accuracies = [accuracy for now in drawn for accuracy in now.accuracies(num_generations)]
    metrics["k15/group_accuracy_std"].append(pstdev(accuracies or [0.0]))
    metrics["k15/dead_groups"].append(dead_share)


def log_loss(metrics: Any, figures: dict[str, Tensor], columns: dict[str, Tensor]) -> None:
    """Note figures of a micro-batch: of the rows in the loss, and of the tokens in the loss.

    Args:
        metrics: Lists by name, as `GRPOTrainer._metrics["train"]`.
        figures: What `UpdateLoss` returned beside the loss, each of shape (B,).
        columns: What it was given.
    """
    keep_B = (columns["weight"] > 0).to(figures["policy"].dtype)
    policy, penalty = ((figures[name] * keep_B).abs().sum() for name in ("policy", "penalty"))
    sums = gather(torch.stack([policy, penalty]).unsqueeze(0)).sum(dim=0)
    rho_N = gather(figures["rho"])[gather(keep_B) > 0]
    # The first update has rho = 0 but for rounding, of which there is no share.
    metrics["k15/penalty_share"].append((sums[1] / sums.sum().clamp(min=1e-8)).item())
    if rho_N.numel() > 0:
        metrics["k15/rho_mean"].append(rho_N.mean().item())
        metrics["k15/rho_std"].append(rho_N.std(correction=0).item())
        metrics["k15/rho_abs_mean"].append(rho_N.abs().mean().item())
        metrics["k15/rho_abs_max"].append(rho_N.abs().max().item())
    # As TRL: means over the tokens in the loss.
    for name in sorted({"kl", "entropy"} & figures.keys()):  # in the same order on all ranks
        totals = gather(torch.stack([figures[name].sum(), columns["mask"].sum()]).unsqueeze(0)).sum(dim=0)
        metrics[name].append((totals[0] / totals[1].clamp(min=1)).item())
