"""Filling a batch of rollouts up to the fixed size that TRL's micro-batches need."""

from typing import Any

import torch
from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid


def fill_up(batch: dict[str, Any], rows: int) -> dict[str, Any]:
    """Return the batch with rows that give no loss added at its end.

    The added rows repeat the first one, images included, with no token in the loss. `fill_share`, the share of real
    rows, lets the loss stay the mean over these.

    Args:
        batch: What TRL's `_generate_and_score_completions` returns, with `keep` (1 for rows in the loss).
        rows: Wanted number of rows, at least those of the batch.
    """
    real = len(batch["completion_ids"])
    batch = split_pixel_values_by_grid(batch)
    filled: dict[str, Any] = {}
    for key, value in batch.items():
        if isinstance(value, list):
            filled[key] = value + value[:1] * (rows - real)
        elif value.dim() == 0:
            filled[key] = value
        else:
            filled[key] = torch.cat([value, value[:1].expand(rows - real, *value.shape[1:])])
    filled["completion_mask"][real:] = 0
    filled["keep"][real:] = 0
    filled["fill_share"] = torch.tensor(real / rows, device=filled["completion_ids"].device)
    return unsplit_pixel_values_by_grid(filled)


def mask_of_last_tokens(completion_mask_BT: torch.Tensor, tokens: list[int]) -> torch.Tensor:
    """Return a mask of the last tokens of each response.

    Args:
        completion_mask_BT: 1 for the tokens of a response, padded on the right, shape (B, T).
        tokens: How many of the last tokens of each response, B ints.
    """
    ends_B1 = completion_mask_BT.sum(dim=1, keepdim=True)
    places_T = torch.arange(completion_mask_BT.size(1), device=ends_B1.device)
    starts_B1 = ends_B1 - torch.tensor(tokens, device=ends_B1.device).unsqueeze(1)
    return ((places_T >= starts_B1) & (places_T < ends_B1)).to(completion_mask_BT.dtype)
