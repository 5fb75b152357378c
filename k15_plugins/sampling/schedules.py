"""Curricula: how much the problems of each difficulty level weigh at an iteration (paper 2.3.4)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from k15_plugins.numbers import check_numbers


class Schedule(Protocol):
    """Anything that weighs the levels; `repr` must tell two different schedules apart, as dataclasses do."""

    def weights(self, iteration: int, levels: np.ndarray) -> np.ndarray:
        """Weight of one problem of each level.

        Args:
            iteration: The iteration, from 0.
            levels: (L,) the levels that occur, rising; a higher level is harder.

        Returns:
            np.ndarray: (L,) float, not negative and not all zero; only their ratios matter.
        """
        ...


@dataclass(frozen=True)
class EasyToHard:
    """Walk from the easiest level to the hardest, then stay there (paper 2.3.4, "gradually progress").

    The walk has a constant pace and blends two neighbouring levels: halfway between them each weighs 0.5. The paper
    does not say how its curriculum moves; this is the plainest form that ends, as its ablation does, on hard problems.

    Args:
        iterations: Iterations from the first, of easiest problems only, to the first of hardest problems only.

    Raises:
        ValueError: If `iterations` is below 1.
    """

    iterations: int

    def __post_init__(self) -> None:
        check_numbers(iterations=self.iterations)
        if not self.iterations >= 1:
            raise ValueError(f"iterations must be 1 or more, got {self.iterations}; raise it.")

    def weights(self, iteration: int, levels: np.ndarray) -> np.ndarray:
        """Weight of one problem of each level; see `Schedule.weights`."""
        position = min(iteration / self.iterations, 1.0) * (len(levels) - 1)
        return np.maximum(0.0, 1.0 - np.abs(np.arange(len(levels)) - position))


@dataclass(frozen=True)
class UniformThenHard:
    """All problems alike as a warm-up, then the hard ones only: the form of the paper's ablation (3.5, Fig. 9).

    Args:
        hard_level: Problems of this level and above are hard. The paper does not say where it drew the line.
        switch_iteration: First iteration with hard problems only; 24 in Fig. 9.

    Raises:
        ValueError: If `switch_iteration` is negative.
    """

    hard_level: int
    switch_iteration: int = 24

    def __post_init__(self) -> None:
        check_numbers(hard_level=self.hard_level, switch_iteration=self.switch_iteration)
        if not self.switch_iteration >= 0:
            raise ValueError(f"switch_iteration must be 0 or more, got {self.switch_iteration}; raise it.")

    def weights(self, iteration: int, levels: np.ndarray) -> np.ndarray:
        """Weight of one problem of each level; see `Schedule.weights`.

        Raises:
            ValueError: If no problem is hard; said from the first iteration on, not only at the switch.
        """
        hard = levels >= self.hard_level
        if not hard.any():
            raise ValueError(
                f"hard_level={self.hard_level} leaves no problem after the switch; lower it to {levels[-1]}, "
                "the level of the hardest problems, or below."
            )
        return hard.astype(np.float64) if iteration >= self.switch_iteration else np.ones(len(levels))
