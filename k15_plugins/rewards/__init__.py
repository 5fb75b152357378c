"""Rewards as TRL reward functions: of final answers, of programs, and of steps."""

from k15_plugins.rewards.code import CodeReward
from k15_plugins.rewards.final_answer import ExactMatchReward, MathReward, ReasoningGymReward
from k15_plugins.rewards.process import ArithmeticStepsReward
from k15_plugins.rewards.step_model import StepModelReward

__all__ = [
    "ArithmeticStepsReward",
    "CodeReward",
    "ExactMatchReward",
    "MathReward",
    "ReasoningGymReward",
    "StepModelReward",
]
