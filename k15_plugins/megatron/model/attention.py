"""Causal attention and norms by PyTorch alone, for where Transformer Engine is not installed."""

from typing import Any

import torch
from megatron.core.transformer.module import MegatronModule
from torch import Tensor


class CausalAttention(MegatronModule):
    """Attention of each token to those before it, by PyTorch's fused kernel.

    Megatron's own class without Transformer Engine builds scores of T x T for each head.

    Args:
        config: A `TransformerConfig`.
        softmax_scale: Factor of the scores; None takes one over the root of the head's size.
        **_: What Megatron's attention classes take beside it.
    """

    def __init__(self, config: Any, *, softmax_scale: float | None = None, **_: Any):
        super().__init__(config=config)
        self.softmax_scale = softmax_scale

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        """Attend.

        Args:
            query: Shape (T, B, heads, head size).
            key: Shape (T, B, key-value heads, head size).
            value: As `key`.
            *_: Masks; rows are padded at their ends only, where nothing looks at the padding.
            **__: The same.

        Returns:
            Shape (T, B, heads x head size).
        """
        query, key, value = (each.permute(1, 2, 0, 3) for each in (query, key, value))
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=self.softmax_scale, enable_gqa=query.shape[1] != key.shape[1]
        )
        return mixed.permute(2, 0, 1, 3).flatten(2)


class RMSNorm(torch.nn.Module):
    """Root mean square norm, also of a part of the sequence; Megatron's refuses sequence parallelism.

    Args:
        config: A `TransformerConfig`.
        hidden_size: Entries that are normed together.
        eps: Added to their mean square.
        **_: What Megatron's norms take beside it.
    """

    def __init__(self, config: Any, hidden_size: int, eps: float, **_: Any):
        super().__init__()
        self.eps = eps
        self.weight = torch.nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype))
        # Megatron adds up the gradients of such weights over the ranks of tensor parallelism.
        self.weight.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]

    def forward(self, hidden: Tensor) -> Tensor:
        """Norm the last dimension.

        Args:
            hidden: Shape (..., hidden size).
        """
        return torch.nn.functional.rms_norm(hidden, self.weight.shape, self.weight, self.eps)
