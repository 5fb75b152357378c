"""Rewards of final answers and of steps, as TRL reward functions."""

from k15_plugins.rewards.final_answer import ExactMatchReward, MathReward, ReasoningGymReward
from k15_plugins.rewards.process import ArithmeticStepsReward
from k15_plugins.rewards.step_model import StepModelReward

__all__ = ["ArithmeticStepsReward", "ExactMatchReward", "MathReward", "ReasoningGymReward", "StepModelReward"]
