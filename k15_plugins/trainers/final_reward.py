"""Whether a final reward's threshold tells right from wrong; if not, accuracy says nothing, and that is told once."""

import logging

from torch import Tensor

logger = logging.getLogger(__name__)


class FinalRewardRange:
    """Follows the values of a final reward that is compared with a threshold, and warns once.

    It warns as soon as values other than 0 and 1 were seen and all values so far lie on one side of the threshold.

    Args:
        name: Of the reward function.
        threshold: Final rewards from here on count as right.
    """

    def __init__(self, name: str, threshold: float):
        self.name = name
        self.threshold = threshold
        self._lowest = float("inf")
        self._highest = float("-inf")
        self._others: float | None = None  # the first value that is neither 0 nor 1
        self._is_told = False

    def see(self, values_N: Tensor) -> None:
        """Take in the final rewards of an iteration.

        Args:
            values_N: Of the rollouts of all processes, shape (N,); NaN where there is no verdict.
        """
        known_N = values_N[~values_N.isnan()]
        if self._is_told or not len(known_N):
            return
        self._lowest = min(self._lowest, known_N.min().item())
        self._highest = max(self._highest, known_N.max().item())
        others_N = known_N[(known_N != 0) & (known_N != 1)]
        if self._others is None and len(others_N):
            self._others = others_N[0].item()
        if self._others is None or self._lowest < self.threshold <= self._highest:
            return
        self._is_told = True
        counts = "right" if self._lowest >= self.threshold else "wrong"
        logger.warning(
            "the final reward %s gives other values than 0 and 1, such as %g, and all so far (%g to %g) count as %s, "
            "for final_reward_threshold=%g; set final_reward_threshold between wrong and right, or name the reward "
            "function that tells right answers by final_reward",
            self.name,
            self._others,
            self._lowest,
            self._highest,
            counts,
            self.threshold,
        )
