"""Every problem equally often: shuffled passes over all of them."""

from typing import Any

import numpy as np

from k15_plugins.sampling.base import NO_PROBLEMS, ProblemSampler
from k15_plugins.sampling.success_rates import SuccessRates

# A round halves the squared distance from the uniform law: 64 bring a place among 10 million within 1e-6 of it.
_ROUNDS = 64


class UniformSampler(ProblemSampler):
    """Draws in shuffled passes: no problem comes again before all others have come.

    The one exception is at the seam of two passes within one iteration: a problem of the old pass that comes up again
    there is put off to the next iteration, so that it is not drawn twice while others wait.

    The shuffle is computed, not stored: it costs no memory, and no draw pauses to shuffle all problems.

    Args:
        num_problems: Number of problems; ids are 0 .. num_problems - 1.
        seed: Seed of the shuffles, 0 or more.

    Raises:
        ValueError: If `num_problems` is below 1 or `seed` is negative.
    """

    def __init__(self, num_problems: int, *, seed: int = 0) -> None:
        super().__init__(SuccessRates(num_problems), seed)
        self._epoch = 0
        self._position = 0
        self._put_off = NO_PROBLEMS

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next draws depend on, in numpy arrays and plain values."""
        place = {"epoch": self._epoch, "position": self._position, "put_off": self._put_off.copy()}
        return {**super().state_dict(), **place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; see `ProblemSampler.load_state_dict`."""
        super().load_state_dict(state)
        self._epoch, self._position = state["epoch"], state["position"]
        self._put_off = state["put_off"].copy()

    def _draw(self, n: int) -> np.ndarray:
        parts: list[np.ndarray] = []
        missing = n
        while missing:
            if len(self._drawn) == self.num_problems:
                self._drawn = NO_PROBLEMS
            # This cannot stand still at the end of a pass: what was put off was drawn in this iteration by the pass
            # before, so all that this pass has drawn was drawn in it too, and the lines above let all come again.
            again = np.isin(self._put_off, self._drawn)
            if len(self._put_off) and not again.all():
                ids = self._put_off[~again][:missing]
                self._put_off = self._put_off[~np.isin(self._put_off, ids)]
            else:
                ids = self._next_of_pass(missing)
                again = np.isin(ids, self._drawn)
                self._put_off = np.concatenate([self._put_off, ids[again]])
                ids = ids[~again]
            self._drawn = np.concatenate([self._drawn, ids])
            parts.append(ids)
            missing -= len(ids)
        return np.concatenate(parts)

    def _next_of_pass(self, n: int) -> np.ndarray:
        """The next n problems of this pass, fewer at its end; a new pass begins when all of the last was drawn."""
        if self._position == self.num_problems and not len(self._put_off):
            self._epoch, self._position = self._epoch + 1, 0
        places = np.arange(self._position, min(self._position + n, self.num_problems))
        self._position += len(places)
        return shuffled(places, self.num_problems, (self.seed, self._epoch))


def shuffled(places: np.ndarray, n: int, key: tuple[int, int]) -> np.ndarray:
    """What stands at some places of a keyed random order of 0 .. n - 1, in time and memory of the places asked for.

    This is the swap-or-not shuffle (Hoang, Morris, Rogaway, 2012). Each round pairs every number x with pivot - x
    (mod n) and swaps the two or leaves them, by a random bit that belongs to the pair. Every round is a bijection, so
    their composition is one too: nothing is missed and nothing comes twice, whatever the quality of the bits.

    Args:
        places: (m,) ints in 0 .. n - 1.
        n: Length of the order.
        key: Names the order; none negative.

    Returns:
        np.ndarray: (m,) int64.
    """
    rng = np.random.default_rng(key)
    pivots = rng.integers(n, size=_ROUNDS)
    salts = rng.integers(2**64, size=(_ROUNDS, 3), dtype=np.uint64) | np.uint64(1)
    x = places.astype(np.int64)
    for pivot, (start, first, second) in zip(pivots, salts, strict=True):
        partner = pivot - x
        partner += n * (partner < 0)
        # The larger of the two stands for the pair; multiplying by random odd numbers brings its bits to the top.
        mixed = (np.maximum(x, partner).astype(np.uint64) + start) * first
        mixed = (mixed ^ (mixed >> np.uint64(32))) * second
        x = np.where(mixed >> np.uint64(63), partner, x)
    return x
