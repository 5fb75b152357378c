"""A model's rating on Codeforces contests, and the share of people below it (paper 3.1).

The rating is the one with which a person would be expected to reach the model's rank in the official standings, by
Codeforces' open formula (https://codeforces.com/blog/entry/20762), Elo's: somebody rated `a` beats somebody rated `b`
with probability 1 / (1 + 10 ** ((b - a) / 400)).
"""

import bisect
from collections.abc import Sequence

LOWEST, HIGHEST = 0, 5000
"""Ratings are looked for between these; a model that solves nothing has the lowest, one that beats all the highest."""


def expected_rank(rating: float, ratings: Sequence[float]) -> float:
    """Return the rank that a rating makes expected in a contest.

    Args:
        rating: Of the one who is ranked.
        ratings: Of all others.
    """
    return 1 + sum(1 / (1 + 10 ** ((rating - other) / 400)) for other in ratings)


def contest_rating(rank: float, ratings: Sequence[float]) -> float:
    """Return the rating for which a rank is the expected one.

    Args:
        rank: Reached in the contest, from 1.
        ratings: Of all others in it.

    Raises:
        ValueError: If there are no others, or the rank is none among them.
    """
    if not ratings or not 1 <= rank <= len(ratings) + 1:
        raise ValueError(f"rank must be from 1 to {len(ratings) + 1} among {len(ratings)} others, got {rank}.")
    low, high = float(LOWEST), float(HIGHEST)
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if expected_rank(middle, ratings) > rank else (low, middle)
    return (low + high) / 2


def contest_rank(points: float, penalty: float, standings: Sequence[tuple[float, float]]) -> int:
    """Return the rank of a result in official standings; equal results share the last rank, as Codeforces rates them.

    Args:
        points: Of the model.
        penalty: Of the model; less is better.
        standings: Points and penalty of everybody.
    """
    return 1 + sum((-its_points, its_penalty) <= (-points, penalty) for its_points, its_penalty in standings)


def percentile(rating: float, ratings: Sequence[float]) -> float:
    """Return the share of people with a lower rating, in percent.

    Args:
        rating: Of the model.
        ratings: Of all people.

    Raises:
        ValueError: If there are none.
    """
    if not ratings:
        raise ValueError("ratings must hold those of people to compare with, got none.")
    return 100 * bisect.bisect_left(sorted(ratings), rating) / len(ratings)
