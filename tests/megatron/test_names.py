"""Parameters of ranks and tensors of checkpoints are two forms of the same numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from k15_plugins.megatron.weights.names import part_of_rank, rule_of, whole_tensors

SIZES = st.integers(1, 4)


def numbered(*shape):
    return torch.arange(torch.Size(shape).numel()).reshape(shape)


@given(
    split=st.sampled_from(["whole", "rows", "columns", "qkv", "qkv bias", "gate_up"]),
    ranks=SIZES,
    heads_of_a_rank=SIZES,
    queries=SIZES,
    head_size=SIZES,
    width=SIZES,
    missing=st.integers(0, 3),
)
def test_parts_make_the_whole_again(split, ranks, heads_of_a_rank, queries, head_size, width, missing):
    kv_heads = ranks * heads_of_a_rank
    rows = None
    if split.startswith("qkv"):
        shape = () if split == "qkv bias" else (width,)
        tensors = [numbered(kv_heads * each * head_size, *shape) for each in (queries, 1, 1)]
        tensors = [tensor + 10_000 * place for place, tensor in enumerate(tensors)]
    elif split == "gate_up":
        tensors = [numbered(ranks * head_size, width), numbered(ranks * head_size, width) + 10_000]
    elif split == "rows":
        tensors = [numbered(max(1, ranks * head_size - missing), width)]
        rows = ranks * head_size
    else:
        tensors = [numbered(width, ranks * head_size)]
    split = split.removesuffix(" bias")

    parts = [part_of_rank(tensors, split, rank, ranks, kv_heads, rows) for rank in range(ranks)]
    assert len({part.shape for part in parts}) == 1
    if split == "whole":
        assert all(torch.equal(part, tensors[0]) for part in parts)
    else:
        assert sum(part.numel() for part in parts) == sum(each.numel() for each in tensors) + width * (
            0 if rows is None else rows - len(tensors[0])
        )
    again = whole_tensors(parts, split, kv_heads, head_size, len(tensors[0]) if rows else None)
    assert len(again) == len(tensors)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(again, tensors, strict=True))


def test_query_key_and_value_of_a_head_stand_together():
    query, key, value = numbered(8, 1), numbered(4, 1) + 100, numbered(4, 1) + 200
    second = part_of_rank([query, key, value], "qkv", 1, 2, kv_heads=2)
    assert second.flatten().tolist() == [4, 5, 6, 7, 102, 103, 202, 203]


def test_a_rank_has_its_part_of_both_halves_of_the_feed_forward_layer():
    gate, up = numbered(4, 1), numbered(4, 1) + 100
    assert part_of_rank([gate, up], "gate_up", 1, 2, kv_heads=1).flatten().tolist() == [2, 3, 102, 103]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp.experts.local_experts.1.linear_fc2.weight", ["model.layers.5.mlp.experts.7.down_proj.weight"]),
        ("mlp.experts.linear_fc2.weight1", ["model.layers.5.mlp.experts.7.down_proj.weight"]),
        (
            "mlp.linear_fc1.weight",
            ["model.layers.5.mlp.gate_proj.weight", "model.layers.5.mlp.up_proj.weight"],
        ),
        ("mlp.linear_fc1.layer_norm_weight", ["model.layers.5.post_attention_layernorm.weight"]),
    ],
)
def test_names_of_a_layer_are_those_of_the_whole_model(name, expected):
    assert list(rule_of(f"decoder.layers.0.{name}", 5, 6, is_tied=False).names) == expected


@pytest.mark.parametrize(("is_tied", "expected"), [(True, "model.embed_tokens.weight"), (False, "lm_head.weight")])
def test_a_tied_output_layer_is_the_embedding(is_tied, expected):
    assert rule_of("output_layer.weight", None, 0, is_tied).names == (expected,)
