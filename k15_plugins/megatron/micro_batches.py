"""Rows of unequal length as micro-batches of about equal work, for every data-parallel replica the same number."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from k15_plugins.megatron.rows import Rows


class MicroBatch(NamedTuple):
    """Rows that are computed together.

    Attributes:
        places: Of the rows; none where a replica computes for nothing.
        ids_BT: Tokens, padded, without the last one where nothing follows it; shape (B, T).
        positions_BC: Of the logits that predict each token of the responses, shape (B, C).
        targets_BC: Those tokens, shape (B, C).
        columns: What else is known of the rows, and `response_mask`, shape (B, C).
    """

    places: list[int]
    ids_BT: Tensor
    positions_BC: Tensor
    targets_BC: Tensor
    columns: dict[str, Tensor]


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


def build_micro_batch(rows: Rows, places: list[int], multiple_of: int, device: torch.device) -> MicroBatch:
    """Build the micro-batch of some rows.

    Args:
        rows: All rows.
        places: Of those that are computed together. Without any, one token is computed for nothing: experts are shared
            among replicas, which so take part in all calls.
        multiple_of: Of which the number of tokens is one.
        device: Where it goes.
    """
    ids = [rows.ids[place] for place in places] or [torch.zeros(2, dtype=torch.long)]
    responses = torch.tensor([rows.response_tokens[place] for place in places] or [1])
    lengths = torch.tensor([len(each) for each in ids])
    ids_BT = pad_sequence(ids, batch_first=True)
    columns = int(responses.max())
    places_C = torch.arange(columns)
    positions_BC = ((lengths - responses - 1).unsqueeze(1) + places_C).clamp(max=ids_BT.shape[1] - 2)
    targets_BC = ids_BT.gather(1, positions_BC + 1)
    # The last token predicts nothing.
    width = -(-max(1, ids_BT.shape[1] - 1) // multiple_of) * multiple_of
    ids_BT = pad(ids_BT, (0, width - ids_BT.shape[1]))
    picked = {
        name: values[places] if values.dim() == 1 else values[places][:, :columns]
        for name, values in rows.columns.items()
    }
    picked["response_mask"] = (places_C < responses.unsqueeze(1)).long()
    place = partial(Tensor.to, device=device)
    return MicroBatch(
        places, place(ids_BT), place(positions_BC), place(targets_BC), {k: place(v) for k, v in picked.items()}
    )


def collect(outputs: list[dict[str, Any]], rows: Rows) -> dict[str, Tensor]:
    """Bring the figures of all rows together, on all ranks.

    Args:
        outputs: Of this rank's micro-batches: `places`, and `figures` by name, tensors with one line a place.
        rows: All rows.

    Returns:
        For each figure one line a row, in the order of the rows.
    """
    mine = [(each["places"], {k: v.cpu() for k, v in each["figures"].items()}) for each in outputs if each]
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, mine)
    found: dict[str, dict[int, Tensor]] = {}
    for places, figures in [part for parts in gathered for part in parts]:
        for name, values in figures.items():
            found.setdefault(name, {}).update(zip(places, values, strict=True))
    return {
        name: pad_sequence([values[row] for row in range(len(rows.ids))], batch_first=True)
        if next(iter(values.values())).dim()
        else torch.stack([values[row] for row in range(len(rows.ids))])
        for name, values in found.items()
    }
