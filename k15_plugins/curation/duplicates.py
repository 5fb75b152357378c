"""Near-duplicates among problems: candidates by MinHash (datasketch), each checked against the texts themselves."""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import cache

from k15_plugins.curation.reasons import Drop, Reason
from k15_plugins.extras import optional_import

SHINGLE_CHARS = 5
PERMUTATIONS = 128
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")


def near_duplicates(texts: Sequence[str], answers: Sequence[str], threshold: float) -> dict[int, Drop]:
    """Find all but one of the problems of each group of near-duplicates.

    Two problems are near-duplicates if their texts share at least the threshold of their runs of 5 characters
    (Jaccard; case and white space do not count), and have the same numbers in the same order and the same right
    answer: the problems of a generator differ in nothing else. Near-duplicates of near-duplicates are of one group. Of
    a group the text that comes first in the alphabet is kept, so the order of the problems does not matter.

    Args:
        texts: Text of each problem.
        answers: Its right answer.
        threshold: Above 0 and at most 1.

    Returns:
        Place -> why it is dropped.
    """
    clean = [" ".join(text.casefold().split()) for text in texts]
    shingles = [shingles_of(text) for text in clean]
    keys = [
        (tuple(_NUMBERS.findall(text)), " ".join(answer.split())) for text, answer in zip(clean, answers, strict=True)
    ]
    group = list(range(len(clean)))

    def first(place: int) -> int:
        while group[place] != place:
            group[place] = group[group[place]]
            place = group[place]
        return place

    for alike in _places_by(keys):
        for one, other in _candidates(alike, shingles, threshold):
            if jaccard(shingles[one], shingles[other]) >= threshold:
                low, high = sorted((first(one), first(other)), key=lambda place: (clean[place], texts[place], place))
                group[high] = low
    return {
        place: Drop(Reason.DUPLICATE, f"of: {texts[first(place)][:200]}")
        for place in range(len(clean))
        if first(place) != place
    }


def shingles_of(text: str) -> frozenset[str]:
    """Return all runs of 5 characters of a text; a shorter text is its only one.

    Args:
        text: In which case and white space are even already.
    """
    return frozenset(text[start : start + SHINGLE_CHARS] for start in range(max(1, len(text) - SHINGLE_CHARS + 1)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of elements that two sets have in common, of all that either has.

    Args:
        one: Not empty.
        other: Not empty.
    """
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def _places_by(keys: Sequence[Hashable]) -> list[list[int]]:
    """Return the places of all keys that occur more than once."""
    places = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return [own for own in places.values() if len(own) > 1]


def _candidates(
    places: Sequence[int], shingles: Sequence[frozenset[str]], threshold: float
) -> Iterator[tuple[int, int]]:
    """Yield pairs of places that may reach a threshold, each once."""
    with optional_import():
        from datasketch import MinHash, MinHashLSH

    # MinHash estimates; so far below the threshold next to no pair is missed, and the exact check follows.
    index = MinHashLSH(num_perm=PERMUTATIONS, params=_bands(max(0.05, threshold - 0.15)))
    own = ([part.encode() for part in shingles[place]] for place in places)
    for place, minhash in zip(places, MinHash.generator(own, num_perm=PERMUTATIONS), strict=True):
        for earlier in index.query(minhash):
            yield earlier, place
        index.insert(place, minhash, check_duplication=False)


@cache
def _bands(threshold: float) -> tuple[int, int]:
    """Return datasketch's choice of bands and rows for a threshold, which takes it a while."""
    with optional_import():
        from datasketch import MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
    return index.b, index.r
