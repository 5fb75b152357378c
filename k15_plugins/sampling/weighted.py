"""Weighted draws without replacement from millions of problems, in time of the draw only."""

from typing import Any
from zlib import crc32

import numpy as np

from k15_plugins.sampling.base import NO_PROBLEMS, ProblemSampler
from k15_plugins.sampling.schedules import Schedule
from k15_plugins.sampling.success_rates import SuccessRates

# Below this share of all problems, those of the open levels are listed: half a byte a problem instead of many misses.
_LISTED_SHARE = 1 / 8
_LARGEST_BATCH = 1 << 18


class WeightedSampler(ProblemSampler):
    """Draws one problem after the other, each with probability proportional to its weight among those not yet drawn.

    A problem weighs what the schedule gives its level, times `_priority`; both are at most 1. Problems that are
    `_held_back` get no more than `_quota` places of a draw while others wait.

    How a draw works. Problems are proposed uniformly and accepted with probability equal to their weight, so the
    accepted ones are independent draws proportional to the weights. Passing over those that were already drawn (or
    are held back, once their quota is full) leaves the next one proportional to the weights of the others: exactly
    drawing without replacement. It costs the size of the draw over the share accepted, and needs no array of weights.

    When few are accepted, the rest is drawn by keys, in one look at all problems: giving each remaining one a waiting
    time Exp(1) / weight and taking the shortest is the same law, for the first of several exponential clocks rings
    with probability proportional to its rate, and the others have no memory. What is left after the first way is
    distributed as if the second had begun there, so changing over in the middle is exact too.

    Args:
        success_rates: What is known of the problems.
        levels: (num_problems,) ints in 0 .. 255, difficulty; higher is harder.
        schedule: Weighs the levels; given with `levels` or not at all.
        seed: Seed of the draws, 0 or more.

    Raises:
        ValueError: If only one of `levels` and `schedule` is given, or they do not fit each other.
    """

    def __init__(
        self, success_rates: SuccessRates, levels: np.ndarray | None, schedule: Schedule | None, seed: int
    ) -> None:
        super().__init__(success_rates, seed)
        if (levels is None) != (schedule is None):
            missing = "levels" if levels is None else "schedule"
            raise ValueError(
                f"{missing} must be given where its partner is, got None; set both levels and schedule, or neither."
            )
        if schedule is not None and (isinstance(schedule, type) or not callable(getattr(schedule, "weights", None))):
            raise ValueError(
                f"schedule must be an object of k15_plugins.sampling, got {schedule!r:.100}; give EasyToHard(20), say."
            )
        self.levels = levels
        self.schedule = schedule
        self._rng = np.random.default_rng(seed)
        self._problems_per_level = np.bincount([] if levels is None else levels, minlength=256)
        self._weight_of_level = np.zeros(256)  # in the current iteration; the largest is 1
        self._listed: np.ndarray | None = None  # int32, the problems of the open levels, if those are few
        self._open_levels()

    @property
    def settings(self) -> dict[str, Any]:
        """What a saved state must share with this sampler."""
        levels = None if self.levels is None else f"crc32:{crc32(self.levels.data):08x}"
        return {**super().settings, "levels": levels, "schedule": repr(self.schedule)}

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays that grow with the number of problems."""
        own = sum(array.nbytes for array in (self.levels, self._listed) if array is not None)
        return super().nbytes + own

    def metrics(self) -> dict[str, float]:
        """Figures of the success rates, and means over the problems drawn in this iteration."""
        figures = super().metrics()
        if self.levels is not None and len(self._drawn):
            figures["drawn_level"] = float(self.levels[self._drawn].mean())
        return figures

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next draws depend on, in numpy arrays and plain values."""
        return {**super().state_dict(), "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; see `ProblemSampler.load_state_dict`."""
        super().load_state_dict(state)
        self._rng.bit_generator.state = state["rng"]

    def _priority(self, ids: np.ndarray) -> np.ndarray:
        """(n,) float in (0, 1], weight of each problem within its level."""
        return np.ones(len(ids))

    def _held_back(self, ids: np.ndarray) -> np.ndarray:
        """(n,) bool, the problems under the quota."""
        return np.zeros(len(ids), bool)

    def _quota(self, n: int) -> int:
        """Places of a draw of n that held-back problems may fill."""
        return n

    def _draw(self, n: int) -> np.ndarray:
        drawable = self._open_levels()
        parts: list[np.ndarray] = []
        missing, quota = n, self._quota(n)
        while missing:
            if len(self._drawn) == drawable:
                self._drawn = NO_PROBLEMS
            wanted = min(missing, drawable - len(self._drawn))
            ids = self._draw_by_rejection(wanted, quota)
            if len(ids) < wanted:
                ids = np.concatenate([ids, self._draw_by_keys(wanted - len(ids), quota, taken=ids)])
            self._drawn = np.concatenate([self._drawn, ids])
            parts.append(ids)
            missing -= len(ids)
            quota = max(0, quota - int(self._held_back(ids).sum()))
        return np.concatenate(parts)

    def _draw_by_rejection(self, n: int, quota: int) -> np.ndarray:
        """(up to n,) problems; fewer when they are too rare to be worth more proposals."""
        pool_size = self.num_problems if self._listed is None else len(self._listed)
        budget = 64 + pool_size // 4  # about what `_draw_by_keys` costs
        ids = NO_PROBLEMS
        proposed, batch = 0, 4 * n
        while len(ids) < n and proposed < budget:
            batch = min(batch, budget - proposed, _LARGEST_BATCH)
            found, height = self._rng.integers(pool_size, size=batch), self._rng.random(batch)
            if self._listed is not None:
                found = self._listed[found].astype(np.int64)
            # Levels first: a byte is read faster than a success rate, and may turn most proposals away.
            weight = self._level_weight(found)
            passed = height < weight
            found, height, weight = found[passed], height[passed], weight[passed]
            found = found[height < weight * self._priority(found)]
            proposed += batch
            found = found[~np.isin(found, self._drawn)]
            ids = _in_order_of_first(np.concatenate([ids, found]))
            ids = ids[_within(quota, self._held_back(ids))][:n]
            batch = int(1.2 * (n - len(ids)) * proposed / max(len(ids), 1)) + 16
        return ids

    def _draw_by_keys(self, n: int, quota: int, taken: np.ndarray) -> np.ndarray:
        """(n,) problems besides those taken, of which there must be as many; looks at all that may be drawn."""
        quota -= int(self._held_back(taken).sum())
        ids = np.arange(self.num_problems) if self._listed is None else self._listed.astype(np.int64)
        ids = ids[self._level_weight(ids) > 0]
        ids = ids[~np.isin(ids, np.concatenate([self._drawn, taken]))]
        keys = self._rng.standard_exponential(len(ids)) / (self._level_weight(ids) * self._priority(ids))
        # n of each kind suffice, whatever the quota, and are far cheaper to sort than all.
        held = self._held_back(ids)
        order = np.concatenate([_smallest(keys, np.flatnonzero(kind), n) for kind in (~held, held)])
        order = order[np.argsort(keys[order])]
        # Held-back problems beyond the quota come when nothing else waits, so after all others.
        within = _within(quota, held[order])
        return ids[np.concatenate([order[within], order[~within]])[:n]]

    def _level_weight(self, ids: np.ndarray) -> np.ndarray:
        """(n,) float in [0, 1], what the schedule gives the level of each problem."""
        return np.ones(len(ids)) if self.levels is None else self._weight_of_level[self.levels[ids]]

    def _open_levels(self) -> int:
        """Weigh the levels for the current iteration; return how many problems may be drawn."""
        if self.levels is None or self.schedule is None:
            return self.num_problems
        present = np.flatnonzero(self._problems_per_level)
        weights = np.asarray(self.schedule.weights(max(self.iteration, 0), present), np.float64)
        if weights.shape != present.shape or not (weights >= 0).all() or not weights.max() > 0:
            raise ValueError(
                f"schedule={self.schedule!r} gives the levels {present.tolist()} the weights {weights.tolist()}: "
                "there must be one for each level, none negative and not all zero."
            )
        before = self._weight_of_level > 0
        self._weight_of_level = np.zeros(256)
        self._weight_of_level[present] = weights / weights.max()
        is_open = self._weight_of_level > 0
        drawable = int(self._problems_per_level[is_open].sum())
        if not np.array_equal(is_open, before):
            few = drawable < _LISTED_SHARE * self.num_problems
            self._listed = np.flatnonzero(is_open[self.levels]).astype(np.int32) if few else None
        return drawable


def as_levels(levels: Any) -> np.ndarray:
    """Difficulty levels as bytes.

    Args:
        levels: (num_problems,) one level for each problem, 0 .. 255.

    Returns:
        np.ndarray: (num_problems,) uint8.

    Raises:
        ValueError: If there is none, or one is not an integer of 0 .. 255.
    """
    given = np.asarray(levels)
    if given.ndim != 1 or not len(given) or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(
            f"levels must be whole numbers in one dimension, got the shape {given.shape} and {given.dtype}; give one "
            "for each problem."
        )
    if given.min() < 0 or given.max() > 255:
        raise ValueError(f"levels must be from 0 to 255, got {given.min()} to {given.max()}; number them anew.")
    return np.ascontiguousarray(given, np.uint8)


def _in_order_of_first(ids: np.ndarray) -> np.ndarray:
    """Drop repeats, keep the order."""
    _, first = np.unique(ids, return_index=True)
    return ids[np.sort(first)]


def _within(quota: int, held: np.ndarray) -> np.ndarray:
    """(n,) bool: all that are not held, and the first `quota` that are."""
    return ~held | (np.cumsum(held) <= quota)


def _smallest(keys: np.ndarray, candidates: np.ndarray, n: int) -> np.ndarray:
    """The up to n candidates with the smallest keys, in no order."""
    if len(candidates) <= n:
        return candidates
    return candidates[np.argpartition(keys[candidates], n)[:n]]
