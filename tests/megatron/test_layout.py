"""Impossible layouts are refused with the field, its value and the cure."""

import re

import pytest
from engine_cases import model_config

from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.settings import EngineSettings


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"processes": 0}, "backend.processes must be a number of ranks, 1 or more, got 0"),
        (
            {"processes": 2, "tensor_parallel": -1},
            "backend.tensor_parallel must be a number of ranks, 1 or more, got -1",
        ),
        ({"processes": 2.0}, "backend.processes must be a number of ranks, 1 or more, got 2.0"),
        (
            {"processes": 6, "tensor_parallel": 2, "pipeline_parallel": 2},
            "backend.processes=6 cannot be split into 2 (tensor_parallel) x 2 (pipeline_parallel); take a multiple of "
            "4",
        ),
        (
            {"processes": 4, "pipeline_parallel": 2, "expert_parallel": 4},
            "backend.expert_parallel=4 does not divide the 2 ranks of a pipeline stage; take a divisor of them",
        ),
        (
            {"processes": 2, "virtual_pipeline": 2},
            "backend.virtual_pipeline=2 interleaves the stages of a pipeline, and there is one; take "
            "backend.pipeline_parallel=2 or more, or virtual_pipeline=1",
        ),
        (
            {"processes": 2, "tensor_parallel": 2, "sequence_parallel": "no"},
            "backend.sequence_parallel must be true or false, got 'no'",
        ),
        (
            {"processes": 2, "sequence_parallel": True},
            "backend.sequence_parallel=true splits among the ranks of tensor parallelism, and there is one; take "
            "backend.tensor_parallel=2 or more, or sequence_parallel=false",
        ),
    ],
)
def test_sizes_that_do_not_go_together(sizes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MegatronLayout(**sizes)


@pytest.mark.parametrize(
    ("sizes", "family", "changes", "message"),
    [
        (
            {"tensor_parallel": 4},
            "llama",
            {},
            "backend.tensor_parallel=4 does not divide the model's 2 key-value heads; take a divisor of them",
        ),
        (
            {"tensor_parallel": 2},
            "llama",
            {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3},
            "backend.tensor_parallel=2 does not divide the model's 3 attention heads; take a divisor of them",
        ),
        (
            {"tensor_parallel": 2},
            "llama",
            {"intermediate_size": 97},
            "backend.tensor_parallel=2 does not divide the model's 97 entries of the feed-forward layer; take a "
            "divisor of them",
        ),
        (
            {"pipeline_parallel": 4},
            "llama",
            {"num_hidden_layers": 6},
            "backend.pipeline_parallel=4 does not divide the model's 6 layers; take a divisor of them",
        ),
        (
            {"pipeline_parallel": 4, "virtual_pipeline": 2},
            "llama",
            {},
            "backend.pipeline_parallel x virtual_pipeline=8 does not divide the model's 4 layers; take a divisor of "
            "them",
        ),
        (
            {"expert_parallel": 4},
            "qwen3_moe",
            {"num_experts": 6},
            "backend.expert_parallel=4 does not divide the model's 6 experts; take a divisor of them",
        ),
        (
            {"expert_parallel": 2},
            "llama",
            {},
            "backend.expert_parallel=2 splits experts, and a llama model has none; take 1",
        ),
        (
            {"tensor_parallel": 2},
            "qwen3_moe",
            {},
            "backend.tensor_parallel=2 with experts needs backend.sequence_parallel=true",
        ),
    ],
)
def test_models_that_cannot_be_split(sizes, family, changes, message):
    layout, config = MegatronLayout(processes=4, **sizes), model_config(family, **changes)
    with pytest.raises(ValueError, match=re.escape(message)):
        layout.check_model(config)


def test_what_is_left_over_is_data_parallel():
    layout = MegatronLayout(processes=8, tensor_parallel=2, pipeline_parallel=2, virtual_pipeline=2)
    layout.check_model(model_config("llama"))
    assert layout.data_parallel == 2


@pytest.mark.parametrize("tokens", [0, "8k"])
def test_micro_batches_of_no_size(tokens):
    with pytest.raises(
        ValueError, match=f"backend.max_tokens_per_micro_batch must be 1 token or more, got {tokens!r}"
    ):
        EngineSettings(MegatronLayout(1), max_tokens_per_micro_batch=tokens)
