"""Rewards of final answers, as TRL reward functions."""

from k15_plugins.rewards.final_answer import ExactMatchReward, MathReward, ReasoningGymReward

__all__ = ["ExactMatchReward", "MathReward", "ReasoningGymReward"]
