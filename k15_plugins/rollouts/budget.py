"""How far a trajectory may go in one iteration, and why it ended (paper 2.6)."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from k15_plugins.rollouts.buffer import Trajectory
from k15_plugins.rollouts.repetition import RepetitionRule, repeated_period

StopReason = Literal["eos", "repetition", "length"]


@dataclass(frozen=True)
class RolloutBudget:
    """What a trajectory may generate in one iteration.

    Args:
        max_tokens: Longest response; a response that reaches it is truncated.
        tokens: The paper's budget of a trajectory in an iteration; None sets no limit.
        pause_share: The later rule (Kimi K3): as soon as this share of the iteration's trajectories has ended, the
            others pause; None waits for all.
        max_segments: Iterations over which a trajectory may be spread. In its last one it has no budget and is not
            paused, so that nothing is older than that; None sets no limit.
    """

    max_tokens: int
    tokens: int | None = None
    pause_share: float | None = None
    max_segments: int | None = None

    def allowance(self, trajectory: Trajectory, iteration: int) -> int:
        """Return how many tokens a trajectory may get in one go.

        Args:
            trajectory: unfinished.
            iteration: The current one.
        """
        left = self.max_tokens - trajectory.num_tokens
        return left if self.tokens is None or self.is_last_segment(trajectory, iteration) else min(left, self.tokens)

    def is_last_segment(self, trajectory: Trajectory, iteration: int) -> bool:
        """Tell whether a trajectory must end in this iteration.

        Args:
            trajectory: unfinished.
            iteration: The current one, in which it may have got tokens already.
        """
        earlier = sum(written != iteration for written, _ in trajectory.segments)
        return self.max_segments is not None and earlier >= self.max_segments - 1

    def pause_after(self, num_trajectories: int) -> int | None:
        """Return after how many ended trajectories the others pause, or None if they do not.

        Args:
            num_trajectories: Those that are generated together.
        """
        if self.pause_share is None:
            return None
        return max(1, math.ceil(round(self.pause_share * num_trajectories, 9)))  # 0.07 * 100 is a little above 7


def stop_reason(
    ids: Sequence[int], eos_ids: Collection[int], max_tokens: int, rule: RepetitionRule | None
) -> StopReason | None:
    """Return why a response has ended, or None if it has only paused.

    It is read off the tokens, so that it means the same whatever engine has stopped it.

    Args:
        ids: Tokens of the whole response.
        eos_ids: Tokens that end a response.
        max_tokens: Longest response.
        rule: When a response counts as repeating itself; None if it never does.
    """
    if len(ids) == 0:
        return None
    if ids[-1] in eos_ids:
        return "eos"
    if rule is not None and repeated_period(ids, rule) is not None:
        return "repetition"
    return "length" if len(ids) >= max_tokens else None
