"""Success rate of every problem, learnt from the rollouts of the run itself (paper 2.3.4)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from k15_plugins.numbers import check_numbers
from k15_plugins.sampling.state import refuse_other_settings

Counts = Sequence[int] | np.ndarray
_ARRAYS = ("right", "rollouts", "last_seen", "seen")
_MOST_SEEN = np.iinfo(np.uint16).max


class SuccessRates:
    """Posterior success rate s_i of each problem, at 14 bytes a problem (paper 2.3.4).

    The posterior is that of a Beta prior with fading evidence: whenever a problem is observed in a new iteration, what
    was known of it before counts `decay` times as much. The mean is (right + prior_right) / (rollouts + prior_right +
    prior_wrong) over those faded counts. Only final answers count; the length reward never enters.

    The evidence fades by visits and not by the clock: with many problems a visit may be thousands of iterations ago,
    and an old rate still tells an easy problem from a hard one.

    The paper gives no prior and no decay. The prior is Jeffreys', Beta(0.5, 0.5): an unseen problem has s_i = 0.5 and
    the first group outweighs it. With decay d a rate rests on (1 + d) / (1 - d) visits, of mean age d / (1 - d). The
    default 0.6 makes that 4 visits of age 1.5. For groups of 8 and rates that drift by 0.02 to 0.06 a visit, its
    squared error is at most 25 % above that of the best decay; 1 would average over all policies since the start.

    Args:
        num_problems: Number of problems; ids are 0 .. num_problems - 1.
        prior_right: Right rollouts each problem is assumed to have had, above 0.
        prior_wrong: Wrong rollouts each problem is assumed to have had, above 0.
        decay: In (0, 1]: weight kept by the earlier evidence at each new visit; 1 never forgets.

    Attributes:
        right: (num_problems,) float32, faded count of right rollouts.
        rollouts: (num_problems,) float32, faded count of rollouts.
        last_seen: (num_problems,) int32, iteration of the latest observation, -1 before any.
        seen: (num_problems,) uint16, rollouts without fading; it stops at 65,535.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self, num_problems: int, prior_right: float = 0.5, prior_wrong: float = 0.5, decay: float = 0.6
    ) -> None:
        if not isinstance(num_problems, int | np.integer):
            raise ValueError(f"num_problems must be a whole number, got {num_problems!r}; set len(train_dataset).")
        if num_problems < 1:
            raise ValueError(f"num_problems must be 1 or more, got {num_problems}; set len(train_dataset).")
        check_numbers(prior_right=prior_right, prior_wrong=prior_wrong, decay=decay)
        if not (0 < prior_right < math.inf and 0 < prior_wrong < math.inf):
            raise ValueError(
                f"prior_right={prior_right} and prior_wrong={prior_wrong} must both be above 0 and finite, "
                "so that no problem counts as surely right or surely wrong: raise the one that is not."
            )
        if not 0 < decay <= 1:
            raise ValueError(
                f"decay must be above 0 and at most 1, got {decay}; set 1 to never forget, less to forget faster."
            )
        self.num_problems = num_problems
        self.prior_right = prior_right
        self.prior_wrong = prior_wrong
        self.decay = decay
        self.right = np.zeros(num_problems, np.float32)
        self.rollouts = np.zeros(num_problems, np.float32)
        self.last_seen = np.full(num_problems, -1, np.int32)
        self.seen = np.zeros(num_problems, np.uint16)
        # Running totals: metrics would otherwise read all problems in every iteration.
        self._num_seen = 0
        self._num_solved = 0
        self._sum_of_means = 0.0

    @property
    def settings(self) -> dict[str, Any]:
        """What a saved state must share with this object."""
        return {
            "num_problems": self.num_problems,
            "prior_right": self.prior_right,
            "prior_wrong": self.prior_wrong,
            "decay": self.decay,
        }

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        return sum(getattr(self, name).nbytes for name in _ARRAYS)

    def mean(self, ids: np.ndarray | None = None) -> np.ndarray:
        """Posterior mean success rate.

        Args:
            ids: (n,) ints, the problems asked for; all of them by default.

        Returns:
            np.ndarray: (n,) float64, strictly between 0 and 1.
        """
        right = self.right if ids is None else self.right[ids]
        rollouts = self.rollouts if ids is None else self.rollouts[ids]
        prior = self.prior_right + self.prior_wrong
        return np.add(right, self.prior_right, dtype=np.float64) / np.add(rollouts, prior, dtype=np.float64)

    def never_right(self, ids: np.ndarray, after_rollouts: int) -> np.ndarray:
        """Which of these problems had at least `after_rollouts` rollouts and no right one.

        Args:
            ids: (n,) ints, the problems asked for.
            after_rollouts: Rollouts a problem must have had, 65,535 at most.

        Returns:
            np.ndarray: (n,) bool.
        """
        return (self.seen[ids] >= after_rollouts) & (self.right[ids] == 0)

    def observe(self, ids: Counts, right: Counts, rollouts: Counts, iteration: int) -> None:
        """Take in what an iteration has shown.

        A problem may stand there more than once, in one call or in several calls of one iteration: its counts add up
        and the earlier evidence fades once. Rows without rollouts say nothing and are passed over.

        Args:
            ids: (n,) the problems.
            right: (n,) rollouts whose final answer was right.
            rollouts: (n,) all rollouts that were checked.
            iteration: The iteration that made them.

        Raises:
            ValueError: If the shapes differ, an id is out of range, or a count is impossible.
        """
        ids, right, rollouts = np.asarray(ids), np.asarray(right), np.asarray(rollouts)
        self._check_observation(ids, right, rollouts)
        checked = rollouts > 0
        ids, row = np.unique(ids[checked].astype(np.int64), return_inverse=True)
        new_right = np.bincount(row, weights=right[checked], minlength=len(ids))
        new_rollouts = np.bincount(row, weights=rollouts[checked], minlength=len(ids))

        self._count(ids, -1)
        kept = np.where(self.last_seen[ids] == iteration, 1.0, self.decay)
        self.right[ids] = self.right[ids] * kept + new_right
        self.rollouts[ids] = self.rollouts[ids] * kept + new_rollouts
        self.seen[ids] = np.minimum(self.seen[ids] + new_rollouts, _MOST_SEEN).astype(np.uint16)
        self.last_seen[ids] = iteration
        self._count(ids, +1)

    def metrics(self) -> dict[str, float]:
        """Mean success rate of the problems seen, share of problems seen, share of those that were ever solved."""
        return {
            "success_rate": self._sum_of_means / max(self._num_seen, 1),
            "share_seen": self._num_seen / self.num_problems,
            "share_solved": self._num_solved / max(self._num_seen, 1),
        }

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that is known, in numpy arrays and plain values."""
        totals = {"num_seen": self._num_seen, "num_solved": self._num_solved, "sum_of_means": self._sum_of_means}
        return {"settings": self.settings, **{name: getattr(self, name).copy() for name in _ARRAYS}, "totals": totals}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state: What `state_dict` returned.

        Raises:
            ValueError: If it was saved with another number of problems, prior or decay.
        """
        refuse_other_settings(state["settings"], self.settings)
        for name in _ARRAYS:
            getattr(self, name)[:] = state[name]
        self._num_seen = state["totals"]["num_seen"]
        self._num_solved = state["totals"]["num_solved"]
        self._sum_of_means = state["totals"]["sum_of_means"]

    def _count(self, ids: np.ndarray, sign: int) -> None:
        """Add these problems to the running totals, or with sign -1 take them out."""
        seen = ids[self.seen[ids] > 0]
        self._num_seen += sign * len(seen)
        self._num_solved += sign * int(np.count_nonzero(self.right[seen]))
        self._sum_of_means += sign * float(self.mean(seen).sum())

    def _check_observation(self, ids: np.ndarray, right: np.ndarray, rollouts: np.ndarray) -> None:
        if not (ids.ndim == 1 and ids.shape == right.shape == rollouts.shape):
            raise ValueError(
                f"ids, right and rollouts must be of one length, got the shapes {ids.shape}, {right.shape} and "
                f"{rollouts.shape}; give one number of each for every problem."
            )
        if len(ids) and not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"ids must be whole numbers, got {ids.dtype}; pass those that draw returned.")
        foreign = (ids < 0) | (ids >= self.num_problems)
        if foreign.any():
            raise ValueError(
                f"ids must be from 0 to {self.num_problems - 1}, got {ids[foreign][0]}; pass the numbers that draw "
                "returned."
            )
        possible = (right >= 0) & (right <= rollouts)
        if not possible.all():
            raise ValueError(
                f"right must be from 0 to rollouts={rollouts[~possible][0]}, got {right[~possible][0]}; pass counts "
                "of rollouts, not rewards."
            )
