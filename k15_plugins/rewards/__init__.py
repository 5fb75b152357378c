"""Rewards as TRL reward functions: of final answers, and of programs."""

from k15_plugins.rewards.code import CodeReward
from k15_plugins.rewards.final_answer import ExactMatchReward, MathReward, ReasoningGymReward

__all__ = ["CodeReward", "ExactMatchReward", "MathReward", "ReasoningGymReward"]
