"""Domains, and how many problems each may have (paper 2.1: tags balance the subjects)."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from k15_plugins.curation.reasons import Drop, Reason


def balance(
    domains: Sequence[str], texts: Sequence[str], max_share: float | None, max_size: int | None, seed: int = 0
) -> dict[int, Drop]:
    """Choose what to drop so that no domain has more than its share; which problems go depends on text and seed alone.

    Where there are too few domains for `max_share`, say two for a third, all are cut to the size of the smallest.

    Args:
        domains: Domain of each problem.
        texts: Text of each problem.
        max_share: Largest share of the kept problems that one domain may have, above 0; None for any.
        max_size: Most problems of a domain, at least 1; None for any number.
        seed: Seed of the choice.

    Returns:
        Place -> why it is dropped.
    """
    sizes = Counter(domains)
    cap = min(largest_size(sizes, max_share), max_size or len(domains))
    places: dict[str, list[int]] = {}
    for place in sorted(range(len(texts)), key=lambda place: (_draw(texts[place], seed), texts[place])):
        places.setdefault(domains[place], []).append(place)
    return {
        place: Drop(Reason.SURPLUS, f"{domain} keeps {cap} of {sizes[domain]}")
        for domain, own in places.items()
        for place in own[cap:]
    }


def largest_size(sizes: Counter[str], max_share: float | None) -> int:
    """Return the most problems that a domain may keep so that none has more than a share of all that are kept.

    Args:
        sizes: Number of problems of each domain.
        max_share: The share; None for any.
    """
    largest = max(sizes.values(), default=0)
    if max_share is None:
        return largest
    for cap in range(largest, 0, -1):
        if cap <= max_share * sum(min(size, cap) for size in sizes.values()) + 1e-9:
            return cap
    return min(sizes.values(), default=0)


def _draw(text: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\n{text}".encode()).digest()
