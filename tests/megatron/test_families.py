"""Models that Megatron would compute otherwise than transformers are refused."""

import re
import sys

import pytest
from engine_cases import VOCABULARY, model_config
from transformers import GPT2Config

from k15_plugins.megatron.model.families import FAMILIES, check_bridged, check_family, head_size

LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}


def test_unknown_architectures():
    known = "it knows llama, qwen2, qwen3, qwen3_moe"
    with pytest.raises(ValueError, match=f"backend=megatron does not know the architecture 'gpt2'; {known}"):
        check_family(GPT2Config())


@pytest.mark.parametrize("family", FAMILIES)
def test_known_architectures(family):
    check_family(model_config(family))


@pytest.mark.parametrize(
    ("family", "option", "value"),
    [
        ("llama", "hidden_act", "gelu"),
        ("llama", "attention_bias", True),
        ("qwen3", "attention_bias", True),
        ("llama", "mlp_bias", True),
        ("qwen2", "use_sliding_window", True),
        ("llama", "rope_parameters", LINEAR),
        ("qwen3_moe", "mlp_only_layers", [0]),
        ("qwen3_moe", "decoder_sparse_step", 2),
        ("qwen3_moe", "norm_topk_prob", False),
    ],
)
def test_options_that_megatron_has_no_equal_of(family, option, value):
    said = re.escape(f"backend=megatron does not know a {family} model with {option}=")
    with pytest.raises(ValueError, match=f"{said}.*; take backend=accelerate or backend=fsdp"):
        check_family(model_config(family, **{option: value}))


@pytest.mark.parametrize(("option", "value"), [("rope_parameters", LINEAR), ("sliding_window", 4096)])
def test_options_that_megatron_bridge_loses(option, value):
    check_bridged(model_config("mistral"), tensor_parallel=1)
    with pytest.raises(ValueError, match=f"backend.bridge=true does not carry over {option}=.* of a mistral model"):
        check_bridged(model_config("mistral", **{option: value}), tensor_parallel=1)


def test_megatron_bridge_pads_no_vocabulary():
    with pytest.raises(ValueError, match=f"tensor_parallel=2 does not divide the model's {VOCABULARY} entries"):
        check_bridged(model_config("mistral"), tensor_parallel=2)


def test_a_missing_megatron_bridge_is_said_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "megatron.bridge", None)
    with pytest.raises(ValueError, match=r"backend\.bridge=true needs megatron-bridge"):
        check_bridged(model_config("mistral"), tensor_parallel=1)


def test_heads_share_the_hidden_size_where_the_config_names_no_size():
    assert head_size(model_config("llama", head_dim=24)) == 24
    assert head_size(model_config("qwen2", head_dim=None)) == 16
