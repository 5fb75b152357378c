"""Rows of documents for TRL's `SFTTrainer(padding_free=True)`, packed, and mixed by tokens (paper 2.5.1, appendix B).

A row is `input_ids` and `seq_lengths`, the lengths of its documents, as TRL's `pack_dataset` writes them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset
from trl import pack_dataset

from k15_plugins.curation.mixture import exact_counts, in_use

Ids = list[int]
Row = dict[str, list[int]]


def partial_rows(documents: Sequence[Ids], length: int) -> list[Row]:
    """Pack documents into rows, whose tokens attend to a part of them: their own document (*partial attention*).

    Args:
        documents: Tokens of each.
        length: Longest row, tokens. Longer documents are cut, and no token is lost.
    """
    packed = pack_dataset(Dataset.from_dict({"input_ids": list(documents)}), length, "bfd_split")
    return [
        {"input_ids": ids, "seq_lengths": lengths}
        for ids, lengths in zip(packed["input_ids"], packed["seq_lengths"], strict=True)
    ]


def full_rows(documents: Sequence[Ids], length: int) -> list[Row]:
    """Make rows of one long document each, whose tokens attend to all before them (*full attention*).

    Args:
        documents: Tokens of each. Longer ones are cut into rows; what is shorter than half a row is left out.
        length: Longest row, tokens.
    """
    pieces = (ids[start : start + length] for ids in documents for start in range(0, len(ids), length))
    return [{"input_ids": piece, "seq_lengths": [len(piece)]} for piece in pieces if 2 * len(piece) >= length]


def mix_tokens(
    sources: Mapping[str, Sequence[Row]],
    weights: Mapping[str, float],
    tokens: int,
    seed: int = 0,
    repeat: bool = False,
) -> Dataset:
    """Draw rows of each source until its share of the tokens is reached, exactly, and shuffle all.

    Args:
        sources: Name of a source to its rows.
        weights: Name of a source to its weight, any unit.
        tokens: In all.
        seed: Of the draws and of the order.
        repeat: Whether a source that is short of tokens comes again, pass after pass.

    Returns:
        Rows; the last one of each source is cut to its share.

    Raises:
        ValueError: If a source is short of tokens and may not come again, or as `curation.mixture.in_use` raises.
    """
    data, used = in_use(sources, weights)
    shares = exact_counts(used, tokens)
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for name, share in shares.items():
        there = sum(len(row["input_ids"]) for row in data[name])
        if there < share and not (repeat and there):
            raise ValueError(
                f"source {name} must have {share} tokens in such rows, got {there}; give it more documents, a smaller "
                f"share or fewer tokens{', or set repeat=true to take them more than once' if there else ''}."
            )
        rows += _draw(data[name], share, rng)
    order = rng.permutation(len(rows))
    return Dataset.from_list([rows[index] for index in order])


def _draw(rows: Sequence[Row], tokens: int, rng: np.random.Generator) -> list[Row]:
    drawn: list[Row] = []
    while tokens:
        for index in rng.permutation(len(rows)):
            row = _beginning(rows[index], tokens)
            drawn.append(row)
            tokens -= len(row["input_ids"])
            if not tokens:
                break
    return drawn


def _beginning(row: Row, tokens: int) -> Row:
    if len(row["input_ids"]) <= tokens:
        return row
    ends = np.minimum(np.cumsum(row["seq_lengths"]), tokens)
    lengths = np.diff(ends, prepend=0)
    return {"input_ids": row["input_ids"][:tokens], "seq_lengths": lengths[lengths > 0].tolist()}
