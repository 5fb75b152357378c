"""Causal attention inside each document of a packed row, in memory that is linear in the row's length.

For a row of several documents, transformers' `sdpa` builds a mask of T x T for its T tokens. Flash attention does not,
but needs a GPU; this is for every machine. `model.set_attn_implementation(DOCUMENTS)` chooses it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

DOCUMENTS = "documents"
"""Its name among the attention implementations of transformers."""


def document_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend from each token to itself and the tokens before it in its document.

    Args:
        module: The attention layer.
        query: (1, query heads, T, head size).
        key: (1, key heads, T, head size).
        value: (1, key heads, T, head size).
        attention_mask: None; `use_documents` sees to that.
        scaling: Of the scores.
        dropout: Share of the weights that are dropped.
        cu_seq_lens_q: (documents + 1,) where each document begins, and T, as TRL's collator with `padding_free` gives
            them; None for one document.
        sliding_window: Tokens that the layer sees of those before, in some models.
        **others: What else models hand over; nothing may be among it that changes the scores.

    Returns:
        (1, T, query heads, head size), and None for the weights.

    Raises:
        ValueError: If there are several rows, a document is longer than the window of the layer, or the model changes
            the scores.
    """
    if query.shape[0] != 1:
        raise ValueError(
            f"attention over documents takes one row at a time, got {query.shape[0]}; set padding_free=true, which "
            "makes a row of them."
        )
    for name in ("softcap", "s_aux", "position_bias"):
        if others.get(name) is not None:
            raise ValueError(f"attention over documents has no {name}, which this model needs; take another model.")
    tokens = query.shape[2]
    bounds = [0, tokens] if cu_seq_lens_q is None else cu_seq_lens_q.tolist()
    longest = max(end - start for start, end in pairwise(bounds))
    if sliding_window is not None and longest > sliding_window:
        raise ValueError(
            f"attention over documents must see each whole document, got one of {longest} tokens in a layer that sees "
            f"{sliding_window}; take shorter documents, or a model without sliding_window."
        )
    attended = [
        scaled_dot_product_attention(
            query[:, :, start:end],
            key[:, :, start:end],
            value[:, :, start:end],
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        for start, end in pairwise(bounds)
    ]
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


AttentionInterface.register(DOCUMENTS, document_attention)
AttentionMaskInterface.register(DOCUMENTS, _no_mask)


@contextmanager
def use_documents(model: PreTrainedModel) -> Iterator[None]:
    """Let a model attend inside documents, for rows that stand alone in their batch; afterwards as before.

    Args:
        model: Changed for the time being, if it attends by `sdpa` to all that comes before. Flash attention needs no
            mask either, and what has windows needs its own.
    """
    before = model.config._attn_implementation
    if before != "sdpa" or getattr(model.config, "sliding_window", None) is not None:
        yield
        return
    model.set_attn_implementation(DOCUMENTS)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
