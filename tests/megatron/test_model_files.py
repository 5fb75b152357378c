"""A stream of tensors becomes files that transformers loads."""

import json

import pytest
import torch
from engine_cases import largest_difference, model_config
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from k15_plugins.megatron.weights.model_files import write_tensors


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("max_shard_bytes", [30_000, 10**9])
def test_shards_load_in_transformers(tmp_path, tied, max_shard_bytes):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(model_config("llama", tied))
    model.config.save_pretrained(tmp_path)
    streamed = [(name, tensor) for name, tensor in model.state_dict().items() if not (tied and "lm_head" in name)]
    write_tensors(tmp_path, iter(streamed), max_shard_bytes)

    files = sorted(tmp_path.glob("*.safetensors"))
    largest = max(tensor.nbytes for _, tensor in streamed)
    assert (len(files) > 5) == (max_shard_bytes == 30_000)
    for file in files:
        held = load_file(file)
        assert sum(tensor.nbytes for tensor in held.values()) <= max_shard_bytes or len(held) == 1
    assert largest > 30_000
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for _, tensor in streamed)
    assert set(index["weight_map"].values()) == {file.name for file in files}

    loaded, problems = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(problems.values())
    assert largest_difference(loaded.state_dict(), model.state_dict()) == 0


def test_a_view_of_a_larger_tensor_is_written_without_the_rest(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path, [("part", whole[:, 1]), ("again", whole[:, 1])], 10**9)
    held = load_file(tmp_path / "model-00001.safetensors")
    assert held["part"].tolist() == held["again"].tolist() == [1, 5, 9]
