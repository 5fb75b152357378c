"""More of what still goes wrong: problems in proportion to 1 - s_i (paper 2.3.4)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from k15_plugins.numbers import check_numbers
from k15_plugins.sampling.schedules import Schedule
from k15_plugins.sampling.success_rates import SuccessRates
from k15_plugins.sampling.weighted import WeightedSampler, as_levels


class PrioritizedSampler(WeightedSampler):
    """Draws problem i in proportion to max(floor, 1 - s_i), times the weight of its level if there is a curriculum.

    The paper has P(i) proportional to 1 - s_i and stops there (2.3.4). Taken at its word, that never asks a solved
    problem again and gives the largest weight to problems that cannot be solved. Hence the prior (see `SuccessRates`),
    the floor and the cap; `floor=0, cap=1` is the paper's formula.

    Args:
        num_problems: Number of problems; ids are 0 .. num_problems - 1.
        floor: In [0, 1], smallest weight, so that solved problems come back. At 0.05 a solved problem comes
            a tenth as often as an unseen one.
        cap: In [0, 1], largest share of one draw, rounded down, that unsolved problems may fill while others
            wait. At 0.25 they cost a quarter of the rollouts at worst and are still tried.
        unsolved_after: In 1 .. 65,535, rollouts without a right one that make a problem unsolved. After 32, a
            problem with a true success rate of 0.1 is taken for unsolved with probability 0.03.
        levels: (num_problems,) difficulty of each problem, 0 .. 255; higher is harder.
        schedule: Curriculum over `levels`; given together with them.
        prior_right: See `SuccessRates`.
        prior_wrong: See `SuccessRates`.
        decay: See `SuccessRates`.
        seed: Seed of the draws, 0 or more.

    Raises:
        ValueError: If an argument is outside its range, or levels and schedule do not fit.
    """

    def __init__(
        self,
        num_problems: int,
        *,
        floor: float = 0.05,
        cap: float = 0.25,
        unsolved_after: int = 32,
        levels: Sequence[int] | np.ndarray | None = None,
        schedule: Schedule | None = None,
        prior_right: float = 0.5,
        prior_wrong: float = 0.5,
        decay: float = 0.6,
        seed: int = 0,
    ) -> None:
        check_numbers(floor=floor, cap=cap, unsolved_after=unsolved_after)
        for name, share in (("floor", floor), ("cap", cap)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1, got {share}; set 0.5, say.")
        if not 1 <= unsolved_after <= np.iinfo(np.uint16).max:
            raise ValueError(
                f"unsolved_after must be a number of rollouts from 1 to 65535, got {unsolved_after}; set 32, say."
            )
        checked = None if levels is None else as_levels(levels)
        if checked is not None and len(checked) != num_problems:
            raise ValueError(
                f"levels must have num_problems={num_problems} entries, got {len(checked)}; set one for each problem."
            )
        super().__init__(SuccessRates(num_problems, prior_right, prior_wrong, decay), checked, schedule, seed)
        self.floor = floor
        self.cap = cap
        self.unsolved_after = unsolved_after

    @property
    def settings(self) -> dict[str, Any]:
        """What a saved state must share with this sampler."""
        return {**super().settings, "floor": self.floor, "cap": self.cap, "unsolved_after": self.unsolved_after}

    def metrics(self) -> dict[str, float]:
        """Figures of the success rates, and means over the problems drawn in this iteration."""
        figures = super().metrics()
        if len(self._drawn):
            figures["drawn_unsolved"] = float(self._held_back(self._drawn).mean())
        return figures

    def _priority(self, ids: np.ndarray) -> np.ndarray:
        return np.maximum(self.floor, 1.0 - self.success_rates.mean(ids))

    def _held_back(self, ids: np.ndarray) -> np.ndarray:
        return self.success_rates.never_right(ids, self.unsolved_after)

    def _quota(self, n: int) -> int:
        return int(self.cap * n + 1e-9)  # the share is a decimal: 0.29 of 100 is 29
