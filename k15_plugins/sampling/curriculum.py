"""From easy problems to hard ones, by difficulty labels (paper 2.3.4)."""

from collections.abc import Sequence

import numpy as np

from k15_plugins.sampling.schedules import Schedule
from k15_plugins.sampling.success_rates import SuccessRates
from k15_plugins.sampling.weighted import WeightedSampler, as_levels


class CurriculumSampler(WeightedSampler):
    """Draws by difficulty level, as a schedule says; problems of one level are alike (paper 2.3.4, 3.5).

    Args:
        levels: (num_problems,) difficulty of each problem, 0 .. 255; higher is harder.
        schedule: `EasyToHard` or `UniformThenHard`, the paper's ablation.
        seed: Seed of the draws, 0 or more.

    Raises:
        ValueError: If a level is not an integer of 0 .. 255, or the schedule leaves nothing to draw.
    """

    def __init__(self, levels: Sequence[int] | np.ndarray, schedule: Schedule, *, seed: int = 0) -> None:
        levels = as_levels(levels)
        super().__init__(SuccessRates(len(levels)), levels, schedule, seed)
