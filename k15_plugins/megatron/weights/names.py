"""Which tensors of a transformers checkpoint make up a parameter of Megatron, and how they are split: one table."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Split = Literal["whole", "rows", "columns", "qkv", "gate_up"]


class Rule(NamedTuple):
    """How a parameter of Megatron is made.

    Attributes:
        names: The tensors of the checkpoint.
        split: Over the ranks of tensor parallelism. `whole`: each rank has a copy. `rows`: along dimension 0.
            `columns`: along dimension 1. `qkv`: query, key and value of each key-value head stand together, then along
            dimension 0. `gate_up`: each of both along dimension 0, a rank's parts one above the other.
    """

    names: tuple[str, ...]
    split: Split


_ATTENTION = "model.layers.{layer}.self_attn."
_MLP = "model.layers.{layer}.mlp."
_EXPERT = "model.layers.{layer}.mlp.experts.{expert}."
_QKV = tuple(_ATTENTION + each for each in ("q_proj", "k_proj", "v_proj"))
_NORM_BEFORE, _NORM_BETWEEN = (
    ("model.layers.{layer}.input_layernorm.weight",),
    ("model.layers.{layer}.post_attention_layernorm.weight",),
)
_OF_A_LAYER = {
    "input_layernorm.weight": Rule(_NORM_BEFORE, "whole"),
    "pre_mlp_layernorm.weight": Rule(_NORM_BETWEEN, "whole"),
    # Transformer Engine computes these norms with what follows them.
    "self_attention.linear_qkv.layer_norm_weight": Rule(_NORM_BEFORE, "whole"),
    "mlp.linear_fc1.layer_norm_weight": Rule(_NORM_BETWEEN, "whole"),
    "self_attention.linear_qkv.weight": Rule(tuple(f"{each}.weight" for each in _QKV), "qkv"),
    "self_attention.linear_qkv.bias": Rule(tuple(f"{each}.bias" for each in _QKV), "qkv"),
    "self_attention.q_layernorm.weight": Rule((_ATTENTION + "q_norm.weight",), "whole"),
    "self_attention.k_layernorm.weight": Rule((_ATTENTION + "k_norm.weight",), "whole"),
    "self_attention.linear_proj.weight": Rule((_ATTENTION + "o_proj.weight",), "columns"),
    "mlp.linear_fc1.weight": Rule((_MLP + "gate_proj.weight", _MLP + "up_proj.weight"), "gate_up"),
    "mlp.linear_fc2.weight": Rule((_MLP + "down_proj.weight",), "columns"),
    "mlp.router.weight": Rule((_MLP + "gate.weight",), "whole"),
}
_OF_AN_EXPERT = {
    "linear_fc1": Rule((_EXPERT + "gate_proj.weight", _EXPERT + "up_proj.weight"), "gate_up"),
    "linear_fc2": Rule((_EXPERT + "down_proj.weight",), "columns"),
}
# One module an expert, or Transformer Engine's one module for all.
_EXPERT_NAME = re.compile(r"mlp\.experts\.(?:local_experts\.(\d+)\.(linear_fc\d)\.weight|(linear_fc\d)\.weight(\d+))")


def rule_of(name: str, layer: int | None, first_expert: int, is_tied: bool) -> Rule:
    """Return the rule of a parameter.

    Args:
        name: Of the parameter in its chunk of the model.
        layer: Of the whole model, from 0, that the parameter belongs to; None outside of the layers.
        first_expert: Number of this rank's first expert in the whole model.
        is_tied: Whether the output layer has the weights of the embedding.
    """
    if layer is None:
        embedding = "model.embed_tokens.weight"
        return {
            "embedding.word_embeddings.weight": Rule((embedding,), "rows"),
            "output_layer.weight": Rule((embedding if is_tied else "lm_head.weight",), "rows"),
            "decoder.final_layernorm.weight": Rule(("model.norm.weight",), "whole"),
        }[name]
    of_the_layer = name.split(".", 3)[3]
    expert = None
    if match := _EXPERT_NAME.fullmatch(of_the_layer):
        expert = first_expert + int(match[1] or match[4])
        rule = _OF_AN_EXPERT[match[2] or match[3]]
    else:
        rule = _OF_A_LAYER[of_the_layer]
    return Rule(tuple(each.format(layer=layer, expert=expert) for each in rule.names), rule.split)


def part_of_rank(
    tensors: Sequence[Tensor], split: Split, rank: int, ranks: int, kv_heads: int, rows: int | None = None
) -> Tensor:
    """Return a rank's parameter from the tensors of a checkpoint.

    Args:
        tensors: Whole, in the order of `Rule.names`.
        split: Of the rule.
        rank: Among the ranks of tensor parallelism.
        ranks: How many these are.
        kv_heads: Key-value heads of the whole model.
        rows: Of the parameter with all ranks' parts; the vocabulary may be padded to it, with zeros.
    """
    if split == "qkv":
        per_head = [each.unflatten(0, (kv_heads, -1)) for each in tensors]
        return torch.cat(per_head, dim=1).flatten(0, 1).chunk(ranks)[rank]
    if split == "gate_up":
        return torch.cat([each.chunk(ranks)[rank] for each in tensors])
    (tensor,) = tensors
    if split == "columns":
        return tensor.chunk(ranks, dim=1)[rank]
    if split == "rows":
        if rows is not None and rows > len(tensor):
            tensor = torch.cat([tensor, tensor.new_zeros(rows - len(tensor), *tensor.shape[1:])])
        return tensor.chunk(ranks)[rank]
    return tensor


def whole_tensors(
    parts: Sequence[Tensor], split: Split, kv_heads: int, head_size: int, rows: int | None = None
) -> list[Tensor]:
    """Return the tensors of a checkpoint from all ranks' parameters; undoes `part_of_rank`.

    Args:
        parts: Of the ranks of tensor parallelism, in their order.
        split: Of the rule.
        kv_heads: Key-value heads of the whole model.
        head_size: Entries of a head.
        rows: Of the checkpoint's tensor, where the parameter is padded.
    """
    if split == "qkv":
        per_head = torch.cat(list(parts)).unflatten(0, (kv_heads, -1))
        queries = per_head.shape[1] - 2 * head_size
        return [each.flatten(0, 1) for each in per_head.split([queries, head_size, head_size], dim=1)]
    if split == "gate_up":
        halves = [part.chunk(2) for part in parts]
        return [torch.cat([half[place] for half in halves]) for place in (0, 1)]
    if split == "columns":
        return [torch.cat(list(parts), dim=1)]
    if split == "rows":
        return [torch.cat(list(parts))[:rows]]
    return [parts[0]]
