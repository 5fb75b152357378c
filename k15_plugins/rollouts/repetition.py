"""Periodic repetition at the end of a response: one rule, applied while tokens come or afterwards (paper 2.6).

The paper stops rollouts that repeat themselves and gives no rule. The rule here: the response ends in `min_count`
copies of the same p tokens, for a period p from `min_period` to `max_period`. It is the rule of vLLM's
`RepetitionDetectionParams`, so that all engines stop at the same token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RepetitionRule:
    """When a response counts as repeating itself.

    Args:
        max_period: Longest period, tokens.
        min_count: Copies of the period in a row, the first one included.
        min_period: Shortest period, tokens.

    Raises:
        ValueError: If a number is out of range.
    """

    max_period: int
    min_count: int
    min_period: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.min_period <= self.max_period:
            raise ValueError(
                f"min_period={self.min_period} and max_period={self.max_period} must be 1 <= min_period <= max_period."
            )
        if self.min_count < 2:
            raise ValueError(f"min_count={self.min_count} must be 2 or more: one copy is no repetition.")


def repeated_period(ids: Sequence[int] | np.ndarray, rule: RepetitionRule) -> int | None:
    """Return the shortest period in which a response repeats itself at its end, or None.

    Args:
        ids: Tokens of the response, shape (T,).
        rule: When it counts.
    """
    runs = _trailing_runs(np.asarray(ids), rule)
    periods = np.arange(rule.min_period, rule.max_period + 1)
    found = periods[runs >= periods * (rule.min_count - 1)]
    return int(found[0]) if len(found) else None


def first_repetition(ids: Sequence[int] | np.ndarray, rule: RepetitionRule, after: int = 0) -> int | None:
    """Return after how many tokens a response would have been stopped, or None if it never repeats itself.

    Args:
        ids: Tokens of the response, shape (T,).
        rule: When it counts.
        after: So many tokens were there before the rule was; it stops none of them.
    """
    ids = np.asarray(ids)
    ends = [len(ids) + 1]
    for period in range(rule.min_period, rule.max_period + 1):
        equal = ids[period:] == ids[:-period]
        # Where a run of equal pairs reaches the wanted length: its last `wanted` pairs are all equal.
        wanted = period * (rule.min_count - 1)
        sums = np.concatenate([[0], np.cumsum(equal)])
        reached = np.flatnonzero(sums[wanted:] - sums[:-wanted] == wanted) + wanted + period
        reached = reached[reached > after]
        if len(reached):
            ends.append(int(reached[0]))
    return min(ends) if min(ends) <= len(ids) else None


def _trailing_runs(ids: np.ndarray, rule: RepetitionRule) -> np.ndarray:
    """(P,) ints, for each period: how many of the last tokens equal the one a period earlier, as far as it matters."""
    ids = ids[-rule.max_period * rule.min_count :]
    runs = []
    for period in range(rule.min_period, rule.max_period + 1):
        differ = np.flatnonzero(ids[period:] != ids[:-period])
        pairs = max(0, len(ids) - period)
        runs.append(pairs - 1 - int(differ[-1]) if len(differ) else pairs)
    return np.array(runs, np.int64)


class RepetitionDetector:
    """Follows B responses token by token, in a time a token that does not depend on their lengths.

    Args:
        started_B: What each response holds already, B arrays of tokens; a pause does not hide a repetition.
        rule: When it counts.
        device: Where the tokens come.
    """

    def __init__(self, started_B: Sequence[Sequence[int] | np.ndarray], rule: RepetitionRule, device: torch.device):
        self.rule = rule
        self.periods_P = torch.arange(rule.min_period, rule.max_period + 1, device=device)
        started = [np.asarray(ids) for ids in started_B]
        self.runs_BP = torch.tensor(np.stack([_trailing_runs(ids, rule) for ids in started]), device=device)
        # The last tokens of each response, in a ring; -1 where there is none.
        ring_BR = np.full((len(started), rule.max_period), -1, np.int64)
        for row, ids in enumerate(started):
            last = ids[-rule.max_period :]
            ring_BR[row, rule.max_period - len(last) :] = last
        self.ring_BR = torch.tensor(ring_BR, device=device)
        self.oldest_B = torch.zeros(len(started), dtype=torch.long, device=device)  # its place in the ring

    def step(self, ids_N: Tensor, rows_N: Tensor) -> Tensor:
        """Take one more token of some responses and tell which of them now repeat themselves.

        Args:
            ids_N: The tokens, shape (N,).
            rows_N: The responses that they belong to, each at most once, shape (N,).

        Returns:
            bool, shape (N,).
        """
        size = self.rule.max_period
        oldest_N = self.oldest_B[rows_N]
        earlier_NP = self.ring_BR[rows_N.unsqueeze(1), (oldest_N.unsqueeze(1) - self.periods_P) % size]
        runs_NP = torch.where(earlier_NP == ids_N.unsqueeze(1), self.runs_BP[rows_N] + 1, 0)
        self.runs_BP[rows_N] = runs_NP
        self.ring_BR[rows_N, oldest_N] = ids_N.to(self.ring_BR.dtype)
        self.oldest_B[rows_N] = (oldest_N + 1) % size
        return (runs_NP >= self.periods_P * (self.rule.min_count - 1)).any(dim=1)
