"""Mixtures of sources by exact counts: 9,250 rows as 500:200:200:5:20 are 5,000, 2,000, 2,000, 50, 200 (paper 2.5.2).

Drawing each row's source at random, as `datasets.interleave_datasets` does, drifts from the weights.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import TypeVar

import numpy as np
from datasets import Dataset, concatenate_datasets

Value = TypeVar("Value")


def in_use(
    sources: Mapping[str, Value | None], weights: Mapping[str, float]
) -> tuple[dict[str, Value], dict[str, float]]:
    """Leave out the sources that are null or weigh nothing, each with its weight.

    Args:
        sources: Name of a source to the source, or None for one that is left out.
        weights: Name of a source to its weight, any unit.

    Returns:
        Sources and weights, with the same names in the order of the weights.

    Raises:
        ValueError: If a source has no weight or a weight no source, a weight is negative, or none is left.
    """
    for name in sources:
        if name not in weights:
            raise ValueError(f"weights must have one for each source, got none for {name}; add weights.{name}, or 0.")
    for name, weight in weights.items():
        if name not in sources:
            raise ValueError(
                f"weights.{name} must belong to a source, got {weight} without one; add the source or null."
            )
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weights.{name} must be 0 or more, got {weight}; set 0 to leave the source out.")
    left = {name: weight for name, weight in weights.items() if weight > 0 and sources[name] is not None}
    if not left:
        there = ", ".join(name for name, source in sources.items() if source is not None) or "none"
        raise ValueError(
            f"weights must be above 0 for a source that is there, got {dict(weights)} for the sources {there}; raise "
            "one of them."
        )
    return {name: sources[name] for name in left}, left  # type: ignore[misc]


def exact_counts(weights: Mapping[str, float], size: int) -> dict[str, int]:
    """Divide a number of rows by weights: each gets its share rounded down, and the largest remainders one more.

    Args:
        weights: Name of a source to its weight, above 0.
        size: Rows in all.

    Returns:
        Name of a source to its rows, `size` in all. Equal remainders are served in the order of the names given.
    """
    total = sum(map(Fraction, weights.values()))
    shares = {name: Fraction(weight) * size / total for name, weight in weights.items()}
    counts = {name: int(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: counts[name] - shares[name])
    for name in by_remainder[: size - sum(counts.values())]:
        counts[name] += 1
    return counts


def largest_size(weights: Mapping[str, float], rows: Mapping[str, int]) -> int:
    """Return the most rows that a mixture can have when no row comes twice.

    Args:
        weights: Name of a source to its weight, above 0.
        rows: Name of a source to its rows.
    """
    total = sum(map(Fraction, weights.values()))
    # A source may be rounded down by less than one row, so no size above this one fits.
    size = min(int((rows[name] + 1) * total / Fraction(weight)) for name, weight in weights.items())
    while any(count > rows[name] for name, count in exact_counts(weights, size).items()):
        size -= 1
    return size


def mix(
    sources: Mapping[str, Dataset | None],
    weights: Mapping[str, float],
    size: int | None = None,
    seed: int = 0,
    repeat: bool = False,
) -> Dataset:
    """Draw from each source as many rows as its weight says, and shuffle all of them.

    Args:
        sources: Name of a source to its rows, all with the same columns; None for one that is left out.
        weights: Name of a source to its weight, any unit.
        size: Rows in all; None for as many as the scarcest source allows.
        seed: Of the draws and of the order.
        repeat: Whether a source that is short of rows comes again: in whole passes, and a drawn part of another.

    Raises:
        ValueError: If a source is short of rows and may not come again, or as `in_use` raises.
    """
    data, used = in_use(sources, weights)
    rows = {name: len(each) for name, each in data.items()}
    if empty := [name for name, number in rows.items() if not number]:
        raise ValueError(f"source {empty[0]} must have rows, got none; give it some, or set it to null.")
    if size is None:
        size = largest_size(used, rows)
    if size < 1:
        raise ValueError(f"size must be 1 or more, got {size}; leave it out for as many rows as the sources allow.")
    counts = exact_counts(used, size)
    if not repeat:
        for name, count in counts.items():
            if count > rows[name]:
                raise ValueError(
                    f"source {name} must have {count} rows for a mixture of {size}, got {rows[name]}; give it more, "
                    f"set size={largest_size(used, rows)}, or repeat=true to take rows more than once."
                )
    rng = np.random.default_rng(seed)
    parts = [_draw(data[name], count, rng) for name, count in counts.items() if count]
    return concatenate_datasets(parts).shuffle(seed=seed)


def _draw(rows: Dataset, count: int, rng: np.random.Generator) -> Dataset:
    passes = [rng.permutation(len(rows)) for _ in range(-(-count // len(rows)))]
    return rows.select(np.concatenate(passes)[:count])
