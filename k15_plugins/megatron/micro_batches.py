"""Rows of unequal length as micro-batches of about equal work, for every data-parallel replica the same number."""

from collections.abc import Sequence


def split_into_micro_batches(
    lengths_tokens: Sequence[int], replicas: int, max_tokens: int, multiple_of: int = 1
) -> list[list[list[int]]]:
    """Return which rows are computed together, and by which replica.

    Long rows are dealt first, each to the replica with the fewest tokens; a replica's rows are then taken from the
    longest, as many as fit when padded to the longest of them.

    Args:
        lengths_tokens: Of each row.
        replicas: Data-parallel replicas.
        max_tokens: Of a micro-batch with its padding; a row that is longer is computed alone.
        multiple_of: Of which the number of micro-batches is one; interleaved pipelines need their stages.

    Returns:
        The places of the rows, by replica and micro-batch. Replicas that need fewer micro-batches than others have
        empty ones at the end.
    """
    shares: list[list[int]] = [[] for _ in range(replicas)]
    loads = [0] * replicas
    for row in sorted(range(len(lengths_tokens)), key=lambda row: -lengths_tokens[row]):
        least = loads.index(min(loads))
        shares[least].append(row)
        loads[least] += lengths_tokens[row]
    batches = [_pack(rows, lengths_tokens, max_tokens) for rows in shares]
    number = max(1, *(len(each) for each in batches))
    number = -(-number // multiple_of) * multiple_of
    return [each + [[] for _ in range(number - len(each))] for each in batches]


def _pack(rows: list[int], lengths_tokens: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Fill micro-batches from rows that come in order of their lengths, the longest first."""
    packed: list[list[int]] = []
    for row in rows:
        # The first row of a micro-batch is its longest.
        if not packed or (len(packed[-1]) + 1) * lengths_tokens[packed[-1][0]] > max_tokens:
            packed.append([])
        packed[-1].append(row)
    return packed
