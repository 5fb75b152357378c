"""What is known of an iteration's rollouts, in one record that the trainers' hooks fill in and hand on."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from k15_plugins.rollouts import Group, Trajectory


@dataclass
class Verdicts:
    """What the reward functions said of the rollouts of all processes (N rollouts, F reward functions).

    Attributes:
        rewards_NF: Rewards; NaN where a function gave none.
        correct_N: Whether the final answer is right, bool.
        scorable_N: Whether there is a verdict on the final answer, bool.
        lengths_N: Tokens of the responses.
        truncated_N: Whether a response was cut off, bool.
        repeats_N: Whether a response repeats itself at its end, bool; all False without a rule.
    """

    rewards_NF: Tensor
    correct_N: Tensor
    scorable_N: Tensor
    lengths_N: Tensor
    truncated_N: Tensor
    repeats_N: Tensor


@dataclass
class Iteration:
    """The rollouts of one call of generation: an iteration's own, the spare ones of a refill, or an evaluation's.

    The fields are in the order in which they become known. Those that speak of N rollouts are of all processes, and
    equal on all.

    Attributes:
        number: Of the iteration, from 0.
        refill: 0 for the iteration's own problems, then 1, 2 ... for each time dead groups are replaced.
        problems_N: The problem of each rollout, a row of the data set; empty without a sampler.
        rows: The rows of this process's problems.
        prompt_ids: Tokens of the prompts of this process's problems, where the rollouts were generated beforehand.
        groups: Rollouts that were generated beforehand, over one or more iterations; None if TRL generates them.
        lengths_tokens: Tokens that the model wrote in each of this process's responses.
        verdicts: What the rewards said.
        advantages_N: Reward less baseline.
    """

    number: int
    refill: int = 0
    problems_N: list[int] = field(default_factory=list)
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    prompt_ids: dict[int, list[int]] = field(default_factory=dict)
    groups: list[Group] | None = None
    lengths_tokens: list[int] = field(default_factory=list)
    verdicts: Verdicts = None  # type: ignore[assignment]  # until the rewards are there
    advantages_N: Tensor = field(default_factory=lambda: torch.empty(0))

    def trajectories(self) -> list[Trajectory]:
        """Return the rollouts that were generated beforehand, of all processes."""
        return [trajectory for group in self.groups or [] for trajectory in group.trajectories]

    def row(self, problem: int, data: Any) -> dict[str, Any]:
        """Return a row of a data set, which is read once.

        Args:
            problem: Number of the row.
            data: The data set.
        """
        if problem not in self.rows:
            self.rows[problem] = data[problem]
        return self.rows[problem]

    def accuracies(self, num_generations: int) -> list[float]:
        """Return the share of right answers of each group that has a verdict.

        Args:
            num_generations: k, the rollouts of a problem.
        """
        scorable_GK = self.verdicts.scorable_N.view(-1, num_generations)
        right_GK = self.verdicts.correct_N.view(-1, num_generations)
        return (right_GK.sum(dim=1) / scorable_GK.sum(dim=1))[scorable_GK.any(dim=1)].tolist()
