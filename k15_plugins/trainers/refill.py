"""Replacing dead groups in a batch of rollouts by groups that give a gradient."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

_PROMPT_KEYS = ("prompt_ids", "prompt_mask")  # padded on the left; everything else with two dimensions on the right


def replace_groups(
    batch: dict[str, Any], spare: dict[str, Any], dead: list[int], num_generations: int, pad_token_id: int
) -> dict[str, Any]:
    """Return the batch with its dead groups replaced by the live groups of a spare batch, as far as these go.

    Args:
        batch: What TRL's `_generate_and_score_completions` returns for text: tensors of shape (B,) or (B, T).
        spare: The same for other problems, with at least as many groups as `dead` has.
        dead: Groups of `batch` to be replaced, as positions.
        num_generations: k, the rows of a group.
        pad_token_id: Fills up token ids.
    """
    live = (spare["advantages"].view(-1, num_generations) != 0).any(dim=1).nonzero().flatten().tolist()
    pairs = list(zip(dead, live, strict=False))
    if not pairs:
        return batch
    to_rows = _rows([place for place, _ in pairs], num_generations)
    from_rows = _rows([place for _, place in pairs], num_generations)
    merged = {}
    for key, value in batch.items():
        if value.dim() == 0:
            merged[key] = value
            continue
        other = spare[key]
        if value.dim() == 2:
            width = max(value.size(1), other.size(1))
            fill = pad_token_id if key.endswith("_ids") else 0
            value, other = (_widen(each, width, key in _PROMPT_KEYS, fill) for each in (value, other))
        merged[key] = value.clone()
        merged[key][to_rows] = other[from_rows]
    return merged


def _rows(groups: list[int], num_generations: int) -> Tensor:
    return (torch.tensor(groups).unsqueeze(1) * num_generations + torch.arange(num_generations)).flatten()


def _widen(values_BT: Tensor, width: int, on_the_left: bool, fill: int) -> Tensor:
    missing = width - values_BT.size(1)
    return pad(values_BT, (missing, 0) if on_the_left else (0, missing), value=fill)
