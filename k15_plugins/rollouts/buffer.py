"""The buffer of partial rollouts: trajectories that wait for more tokens, and groups that wait for their last one.

Nothing that is started is ever dropped: a trajectory stays until its whole group has been taken for training.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

UNKNOWN_LOGP = np.nan


@dataclass
class Trajectory:
    """One response in the making, 8 bytes a token.

    Attributes:
        ids_T: Its tokens, int32, shape (T,).
        logps_T: log-probabilities of the tokens under the policy that sampled them, by the engine that sampled them,
            float32, shape (T,), nats; NaN where the engine gave none.
        segments: (iteration, tokens) of each segment: whose policy wrote how many tokens.
        stop: Why it ended; None while it is unfinished.
    """

    ids_T: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    logps_T: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    segments: list[tuple[int, int]] = field(default_factory=list)
    stop: str | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens so far."""
        return len(self.ids_T)

    def tokens_of(self, iteration: int) -> int:
        """Tokens that the policy of an iteration wrote; they are the last ones, if any.

        Args:
            iteration: The current one.
        """
        return sum(tokens for written, tokens in self.segments if written == iteration)


@dataclass
class Group:
    """The k trajectories of one problem.

    Attributes:
        problem: Index of the problem in the data set.
        trajectories: The k trajectories.
    """

    problem: int
    trajectories: list[Trajectory]

    @property
    def is_finished(self) -> bool:
        """Whether all k responses have ended."""
        return all(trajectory.stop is not None for trajectory in self.trajectories)


class RolloutBuffer:
    """Groups from the start of their first trajectory until they are trained on, oldest first.

    Args:
        num_generations: k, the trajectories of a problem.
        max_tokens: Longest response.
    """

    def __init__(self, num_generations: int, max_tokens: int):
        self.num_generations = num_generations
        self.max_tokens = max_tokens
        self.groups: list[Group] = []

    def start(self, problems: list[int]) -> None:
        """Open a group for each problem.

        Args:
            problems: Indices of the problems.
        """
        k = self.num_generations
        self.groups += [Group(int(problem), [Trajectory() for _ in range(k)]) for problem in problems]

    def unfinished(self) -> list[Trajectory]:
        """Return the trajectories that want more tokens, those of the oldest groups first."""
        return [each for group in self.groups for each in group.trajectories if each.stop is None]

    def problems_of_unfinished(self) -> list[int]:
        """Return the problem of each trajectory in `unfinished`, in the same order."""
        return [group.problem for group in self.groups for each in group.trajectories if each.stop is None]

    def extend(
        self,
        trajectory: Trajectory,
        ids: list[int] | np.ndarray,
        logps: list[float] | np.ndarray | None,
        iteration: int,
        stop: str | None,
    ) -> None:
        """Add what an engine has generated to a trajectory.

        Args:
            trajectory: One of `unfinished`.
            ids: New tokens.
            logps: Their log-probabilities by the engine, nats; None if it gave none.
            iteration: The iteration whose policy wrote them.
            stop: Why the trajectory has ended, or None.

        Raises:
            ValueError: If the trajectory has ended before, grows too long, or `logps` has another length.
        """
        if trajectory.stop is not None:
            raise ValueError(f"a trajectory that has ended ({trajectory.stop}) cannot go on.")
        new_logps = np.full(len(ids), UNKNOWN_LOGP, np.float32) if logps is None else np.asarray(logps, np.float32)
        if len(new_logps) != len(ids):
            raise ValueError(f"{len(ids)} tokens came with {len(new_logps)} log-probabilities.")
        if trajectory.num_tokens + len(ids) > self.max_tokens:
            raise ValueError(f"a trajectory of {trajectory.num_tokens + len(ids)} tokens exceeds {self.max_tokens}.")
        trajectory.ids_T = np.concatenate([trajectory.ids_T, np.asarray(ids, np.int32)])
        trajectory.logps_T = np.concatenate([trajectory.logps_T, new_logps])
        if len(ids) and trajectory.segments and trajectory.segments[-1][0] == iteration:
            trajectory.segments[-1] = (iteration, trajectory.segments[-1][1] + len(ids))
        elif len(ids):
            trajectory.segments.append((iteration, len(ids)))
        trajectory.stop = stop

    @property
    def num_finished_groups(self) -> int:
        """Groups that are ready for training."""
        return sum(group.is_finished for group in self.groups)

    def take(self, number: int) -> list[Group]:
        """Remove finished groups and return them, those that were started first come first.

        Args:
            number: At most so many.
        """
        taken = [group for group in self.groups if group.is_finished][:number]
        kept = {id(group) for group in taken}
        self.groups = [group for group in self.groups if id(group) not in kept]
        return taken

    def metrics(self) -> dict[str, float]:
        """Figures of what is held."""
        trajectories = [each for group in self.groups for each in group.trajectories]
        return {
            "waiting_groups": float(self.num_finished_groups),
            "open_groups": float(len(self.groups) - self.num_finished_groups),
            "unfinished_trajectories": float(len(self.unfinished())),
            "buffered_tokens": float(sum(each.num_tokens for each in trajectories)),
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the tokens and log-probabilities held."""
        trajectories = [each for group in self.groups for each in group.trajectories]
        return sum(each.ids_T.nbytes + each.logps_T.nbytes for each in trajectories)

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that is held: two flat arrays and plain lists."""
        trajectories = [each for group in self.groups for each in group.trajectories]
        nothing = Trajectory()
        return {
            "settings": {"num_generations": self.num_generations, "max_completion_length": self.max_tokens},
            "problems": [group.problem for group in self.groups],
            "ids": np.concatenate([nothing.ids_T, *(each.ids_T for each in trajectories)]),
            "logps": np.concatenate([nothing.logps_T, *(each.logps_T for each in trajectories)]),
            "segments": [list(each.segments) for each in trajectories],
            "stops": [each.stop for each in trajectories],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state: What `state_dict` returned.

        Raises:
            ValueError: If it was saved with another number of trajectories a problem, or another longest response.
        """
        settings = {"num_generations": self.num_generations, "max_completion_length": self.max_tokens}
        for name, value in settings.items():
            if state["settings"][name] != value:
                raise ValueError(
                    f"the saved rollouts have {name}={state['settings'][name]}, the training {value}; make them equal."
                )
        lengths = [sum(tokens for _, tokens in segments) for segments in state["segments"]]
        ends = np.cumsum(lengths, dtype=int)
        ids, logps = np.split(state["ids"], ends)[:-1], np.split(state["logps"], ends)[:-1]
        trajectories = [
            Trajectory(ids_T.copy(), logps_T.copy(), [(written, tokens) for written, tokens in segments], stop)
            for ids_T, logps_T, segments, stop in zip(ids, logps, state["segments"], state["stops"], strict=True)
        ]
        k = self.num_generations
        self.groups = [
            Group(problem, trajectories[place * k : (place + 1) * k])
            for place, problem in enumerate(state["problems"])
        ]
