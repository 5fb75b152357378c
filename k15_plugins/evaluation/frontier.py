"""The balance of accuracy and tokens: which models no other one beats, and which one to take (paper 2.4)."""

import math
from typing import NamedTuple

from k15_plugins.numbers import check_numbers


class Point(NamedTuple):
    """What a model reaches: its name, accuracy in [0, 1], and mean tokens of a response."""

    name: str
    accuracy: float
    tokens: float


def frontier(points: list[Point]) -> list[Point]:
    """Return the points that no other beats, by tokens: none is at least as good in both and better in one.

    Args:
        points: Models; of equal ones all stay.
    """
    beaten = {
        point
        for point in points
        for other in points
        if other.accuracy >= point.accuracy and other.tokens <= point.tokens and other[1:] != point[1:]
    }
    return sorted((point for point in points if point not in beaten), key=lambda point: point.tokens)


def select(points: list[Point], accuracy_loss: float = 0.01) -> Point:
    """Return the model with the fewest tokens among those within `accuracy_loss` of the best accuracy.

    Of models with equal tokens the more accurate one is taken, then the first in the list.

    Args:
        points: Models, at least one.
        accuracy_loss: Accuracy that fewer tokens may cost, in [0, 1].

    Raises:
        ValueError: If `accuracy_loss` is out of its range, or there is no model.
    """
    if not points:
        raise ValueError("points must hold at least one model, got none; give a Point for each.")
    for point in points:
        if not isinstance(point, Point):
            raise ValueError(
                f"points must hold objects of Point, got {point!r:.100}; give Point(name, accuracy, tokens)."
            )
        check_numbers(accuracy=point.accuracy, tokens=point.tokens)
        if not (math.isfinite(point.accuracy) and math.isfinite(point.tokens)):
            raise ValueError(f"points must hold finite figures, got {point}; leave that model out.")
    check_numbers(accuracy_loss=accuracy_loss)
    if not 0 <= accuracy_loss <= 1:
        raise ValueError(f"accuracy_loss must be a share from 0 to 1, got {accuracy_loss}; set 0.01, say.")
    best = max(point.accuracy for point in points)
    # In floats 0.07 - 0.01 is more than 0.06.
    good = [point for point in points if point.accuracy >= best - accuracy_loss - 1e-9]
    return min(good, key=lambda point: (point.tokens, -point.accuracy))
