"""Rewards as TRL reward functions: of final answers, of programs, of steps, and from reward models."""

from k15_plugins.rewards.classic_model import ClassicModelReward
from k15_plugins.rewards.code import CodeReward
from k15_plugins.rewards.cot_model import ChainOfThoughtReward
from k15_plugins.rewards.final_answer import ExactMatchReward, MathReward, ReasoningGymReward
from k15_plugins.rewards.judgement import judge_prompt, read_verdict
from k15_plugins.rewards.process import ArithmeticStepsReward
from k15_plugins.rewards.step_model import StepModelReward

__all__ = [
    "ArithmeticStepsReward",
    "ChainOfThoughtReward",
    "ClassicModelReward",
    "CodeReward",
    "ExactMatchReward",
    "MathReward",
    "ReasoningGymReward",
    "StepModelReward",
    "judge_prompt",
    "read_verdict",
]
