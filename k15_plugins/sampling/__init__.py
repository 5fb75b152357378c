"""Which problems come next: success rates and the samplers that use them (paper 2.3.4). Needs numpy only."""

from k15_plugins.sampling.base import ProblemSampler
from k15_plugins.sampling.curriculum import CurriculumSampler
from k15_plugins.sampling.prioritized import PrioritizedSampler
from k15_plugins.sampling.schedules import EasyToHard, UniformThenHard
from k15_plugins.sampling.success_rates import SuccessRates
from k15_plugins.sampling.uniform import UniformSampler

__all__ = [
    "CurriculumSampler",
    "EasyToHard",
    "PrioritizedSampler",
    "ProblemSampler",
    "SuccessRates",
    "UniformSampler",
    "UniformThenHard",
]
