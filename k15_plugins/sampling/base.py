"""What all samplers share: the clock, the success rates, and the four verbs."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from k15_plugins.sampling.state import refuse_other_settings
from k15_plugins.sampling.success_rates import Counts, SuccessRates

NO_PROBLEMS = np.empty(0, np.int64)


class ProblemSampler(ABC):
    """Chooses the problems of each iteration: `draw`, `observe`, `state_dict` / `load_state_dict`, `metrics`.

    A draw depends on nothing but the arguments, the draws and the observations before it. So ranks that observe the
    same counts draw the same problems, and a loaded state continues the exact sequence.

    Args:
        success_rates: What is known of the problems; the sampler feeds it.
        seed: Seed of the draws, 0 or more.

    Attributes:
        success_rates: As given.
        iteration: The current iteration: 0 after the first draw, -1 before it.

    Raises:
        ValueError: If `seed` is negative.
    """

    def __init__(self, success_rates: SuccessRates, seed: int) -> None:
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"seed must be a whole number from 0, got {seed!r}; set 0, say.")
        self.success_rates = success_rates
        self.num_problems = success_rates.num_problems
        self.seed = seed
        self.iteration = -1
        self._drawn = NO_PROBLEMS  # in this iteration; emptied in it only when no problem waits any more

    @property
    def settings(self) -> dict[str, Any]:
        """What a saved state must share with this sampler."""
        return {"sampler": type(self).__name__, "seed": self.seed, **self.success_rates.settings}

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays that grow with the number of problems."""
        return self.success_rates.nbytes

    def draw(self, n: int, refill: bool = False) -> np.ndarray:
        """Draw the problems of the next iteration, or more problems for the current one.

        No problem comes twice in one iteration while another one that may be drawn waits. If `n` exceeds what is left,
        all of that is taken and the drawing starts over.

        Args:
            n: Number of problems; 0 only begins the next iteration.
            refill: Stay in the current iteration, for instance to replace groups without a signal.

        Returns:
            np.ndarray: (n,) int64, the problems in the order in which they were drawn.

        Raises:
            ValueError: If `n` is no whole number from 0, or if a refill comes before the first draw.
        """
        if not isinstance(n, int | np.integer):
            raise ValueError(f"n must be a whole number, got {n!r}; ask for a number of problems.")
        if n < 0:
            raise ValueError(f"n must be 0 or more, got {n}; ask for that many problems.")
        if refill and self.iteration < 0:
            raise ValueError("refill must be False before the first draw, got True; begin with draw(n).")
        if not refill:
            self.iteration += 1
            self._drawn = NO_PROBLEMS
        return self._draw(n) if n else NO_PROBLEMS

    def observe(self, ids: Counts, right: Counts, rollouts: Counts) -> None:
        """Take in the verdicts on the rollouts of the current iteration; see `SuccessRates.observe`.

        Before the first draw this serves to start from known pass rates, such as those of the warm-up model.

        Args:
            ids: (n,) the problems.
            right: (n,) rollouts whose final answer was right.
            rollouts: (n,) all rollouts that were checked.

        Raises:
            ValueError: If the shapes differ, an id is out of range, or a count is impossible.
        """
        self.success_rates.observe(ids, right, rollouts, self.iteration)

    def metrics(self) -> dict[str, float]:
        """Figures of the success rates, and the mean success rate of the problems drawn in this iteration."""
        figures = self.success_rates.metrics()
        if len(self._drawn):
            figures["drawn_success_rate"] = float(self.success_rates.mean(self._drawn).mean())
        return figures

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next draws depend on, in numpy arrays and plain values."""
        return {
            "settings": self.settings,
            "iteration": self.iteration,
            "drawn": self._drawn.copy(),
            "success_rates": self.success_rates.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state: What `state_dict` returned.

        Raises:
            ValueError: If it was saved by another kind of sampler, or with other problems or settings.
        """
        refuse_other_settings(state["settings"], self.settings)
        self.success_rates.load_state_dict(state["success_rates"])
        self.iteration = state["iteration"]
        self._drawn = state["drawn"].copy()

    @abstractmethod
    def _draw(self, n: int) -> np.ndarray:
        """Draw (n,) problems of the current iteration and add them to `_drawn`."""
