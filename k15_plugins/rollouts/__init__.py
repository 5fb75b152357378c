"""Partial rollouts: trajectories that are generated over several iterations, and repetition (paper 2.6)."""

from k15_plugins.rollouts.budget import RolloutBudget, stop_reason
from k15_plugins.rollouts.buffer import Group, RolloutBuffer, Trajectory
from k15_plugins.rollouts.repetition import RepetitionDetector, RepetitionRule, first_repetition, repeated_period

__all__ = [
    "Group",
    "RepetitionDetector",
    "RepetitionRule",
    "RolloutBudget",
    "RolloutBuffer",
    "Trajectory",
    "first_repetition",
    "repeated_period",
    "stop_reason",
]
