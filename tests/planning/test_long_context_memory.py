"""The arithmetic of long runs against real models, a real cache, and measured updates."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM, MixtralConfig

from k15_plugins.planning.long_context import activation_bytes, kv_cache_bytes, main, needs, shape_of

MEASURED = Path(__file__).parents[2] / "docs" / "results" / "long_update.json"


def config(**changes) -> LlamaConfig:
    sizes = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    return LlamaConfig(**sizes | heads | changes)


@pytest.mark.parametrize("tied", [False, True])
def test_weights_are_those_of_the_model(tied):
    model = LlamaForCausalLM(config(tie_word_embeddings=tied))
    assert shape_of(model.config).parameters == sum(weight.numel() for weight in model.parameters())


def test_kv_cache_is_as_large_as_the_real_one():
    model = LlamaForCausalLM(config())
    cache = model(torch.randint(0, 64, (2, 37))).past_key_values
    tensors = [each for layer in cache.layers for each in (layer.keys, layer.values)]
    expected = sum(each.numel() * each.element_size() for each in tensors)
    assert 2 * 37 * kv_cache_bytes(shape_of(model.config), 4) == expected


def test_slope_of_an_update_is_within_a_quarter_of_what_was_measured():
    found = json.loads(MEASURED.read_text())
    for vocabulary in (128, 32_768):
        points = found["points"][f"cut {vocabulary}"]
        assert len(points) >= 3
        # At the shortest length the peak can be the head's tile, which has one size at any length.
        tokens, own_mb = ([point[name] for point in points[1:]] for name in ("tokens", "own_mb"))
        slope = np.polyfit(tokens, own_mb, 1)[0] * 2**20
        shape = shape_of(LlamaConfig(vocab_size=vocabulary, **found["model"]))
        assert activation_bytes(shape, 4) == pytest.approx(slope, rel=0.25)


def test_models_with_experts_are_refused():
    with pytest.raises(ValueError, match="mixtral has experts"):
        shape_of(MixtralConfig())


def test_the_command_prints_what_needs_returns(tmp_path, capsys):
    AutoConfig.for_model("llama").save_pretrained(tmp_path)
    main([str(tmp_path), "--gpus", "4", "--trajectories", "6"])
    printed = capsys.readouterr().out
    for name, size in needs(shape_of(LlamaConfig()), 4, trajectories=6).items():
        assert f"{name}: {size:8.2f}" in printed
    # Llama-7B: 6.74 billion weights; each GPU holds the cache of two of six trajectories.
    assert "6.74 billion weights" in printed
    assert needs(shape_of(LlamaConfig()), 4, trajectories=6)["KV cache of the rollouts in flight"] == 2 * 64
