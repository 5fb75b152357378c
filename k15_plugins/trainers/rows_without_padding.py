"""One row at a time is cut to its own tokens: no padding is computed, and no mask is built for it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


def logps_of_rows_cut_to_their_tokens(
    logps: Callable[..., tuple],
    input_ids_BT: Tensor,
    attention_mask_BT: Tensor,
    logits_to_keep: int,
    batch_size: int | None = None,
    **options: Any,
) -> tuple:
    """Call TRL's log-probability function on each row without its padding, where rows are computed one at a time.

    TRL pads all rows of an iteration to its longest prompt and longest response. A row with padding costs as much as
    the longest, and its attention needs a mask of T x T entries: 17 GB at 128k. Rows that are computed together, and
    rows with images, are left as they are.

    Args:
        logps: `_get_per_token_logps_and_entropies` of a `GRPOTrainer` with its model.
        input_ids_BT: Prompts, padded on the left, then responses, padded on the right.
        attention_mask_BT: 1 for their tokens.
        logits_to_keep: C, columns of the responses.
        batch_size: Rows that are computed together; None takes all.
        **options: What else TRL's function takes.

    Returns:
        As TRL's function: log-probabilities and entropies, shape (B, C), 0 for padding, and the auxiliary loss.
    """
    rows, columns = input_ids_BT.shape
    given = {name for name, value in options.items() if value is not None}
    if rows == 0 or (batch_size or rows) > 1 or given - {"compute_entropy", "compute_aux_loss"}:
        return logps(input_ids_BT, attention_mask_BT, logits_to_keep, batch_size, **options)
    found = []
    for ids_1T, mask_1T in zip(input_ids_BT.split(1), attention_mask_BT.split(1), strict=True):
        start = columns - logits_to_keep  # of the response, of which one column stays in any case
        places = mask_1T[0].nonzero().flatten()
        first, last = (int(places[0]), int(places[-1])) if len(places) else (start, start)
        first, end = min(first, start), max(last, start) + 1
        logps_1C, entropies_1C, aux_loss = logps(
            ids_1T[:, first:end], mask_1T[:, first:end], end - start, batch_size, **options
        )
        found.append([_padded(logps_1C, logits_to_keep), _padded(entropies_1C, logits_to_keep), aux_loss])
    logps_BC, entropies_BC = (
        None if column[0] is None else torch.cat(column) for column in list(zip(*found, strict=True))[:2]
    )
    aux_losses = [row[2] for row in found]
    return logps_BC, entropies_BC, None if aux_losses[0] is None else torch.stack(aux_losses).mean()


def _padded(values_1C: Tensor | None, columns: int) -> Tensor | None:
    return None if values_1C is None else pad(values_1C, (0, columns - values_1C.size(1)))
