"""In every layout the engine computes, trains and exports what transformers and PyTorch's AdamW do."""

import json
from pathlib import Path

import pytest
import torch
from engine_cases import LAYOUTS, VOCABULARY, largest_difference, model_config, save_model, shapes, write_case
from launch import run_job
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

MERELY_ROUNDING = 5e-6


# Megatron-Bridge does not pad the vocabulary.
BRIDGED = {
    "bridge TP2": {
        "family": "mistral",
        "tied": True,
        "changes": {"vocab_size": VOCABULARY + 1},
        "layout": {"processes": 2, "tensor_parallel": 2, "sequence_parallel": True},
    },
    "bridge PP2 interleaved": {
        "family": "mistral",
        "tied": False,
        "layout": {"processes": 2, "pipeline_parallel": 2, "virtual_pipeline": 2},
    },
}
CASES = LAYOUTS | {name: case | {"settings": {"bridge": True}} for name, case in BRIDGED.items()}


@pytest.fixture(scope="module", params=CASES)
def compared(request, tmp_path_factory):
    """The folder of a job, and what it found."""
    return run_case(tmp_path_factory.mktemp("job"), **CASES[request.param])


def run_case(folder: Path, **case):
    write_case(folder, **case)
    save_model(folder / "model", case["family"], case["tied"], **case.get("changes", {}))
    run_job(case["layout"]["processes"], "job.py", folder)
    return folder, json.loads((folder / "result.json").read_text())


def test_log_probabilities_and_entropies_are_those_of_transformers(compared):
    _, result = compared
    assert result["logps"] < MERELY_ROUNDING
    assert result["entropies"] < MERELY_ROUNDING


def test_three_updates_are_those_of_adamw_and_are_exported_at_once(compared):
    _, result = compared
    assert len(result["updates"]) == 3
    for update in result["updates"]:
        assert update["clips"]
        assert update["loss"] < MERELY_ROUNDING
        assert update["grad_norm"] < MERELY_ROUNDING
        assert update["weights"] < MERELY_ROUNDING
    assert result["moved"] > 200 * MERELY_ROUNDING


def test_a_reset_optimizer_is_a_new_one(compared):
    _, result = compared
    assert result["after_reset"]["weights"] < MERELY_ROUNDING


def test_the_export_sends_no_more_than_the_weights(compared):
    folder, result = compared
    tensors = len(load_file(folder / "reference" / "model.safetensors"))
    # Name, shape and pickle's own words of each tensor.
    assert result["weight_bytes"] < result["sent_bytes"] < result["weight_bytes"] + 600 * tensors


def test_the_model_is_exported_as_transformers_saves_it(compared):
    folder, _ = compared
    exported = {}
    for file in (folder / "exported").glob("*.safetensors"):
        exported |= load_file(file)
    theirs = load_file(folder / "reference" / "model.safetensors")
    assert shapes(exported) == shapes(theirs)
    assert {tensor.dtype for tensor in exported.values()} == {torch.float32}

    (folder / "exported" / "config.json").write_text((folder / "model" / "config.json").read_text())
    loaded, problems = AutoModelForCausalLM.from_pretrained(folder / "exported", output_loading_info=True)
    assert not any(problems.values())
    expected = AutoModelForCausalLM.from_pretrained(folder / "reference").state_dict()
    assert largest_difference(loaded.state_dict(), expected) < MERELY_ROUNDING


def test_bfloat16_trains_and_stays_near(tmp_path):
    _, result = run_case(
        tmp_path / "job", family="llama", tied=False, layout={"processes": 2}, settings={"dtype": "bfloat16"}
    )
    print(f"bfloat16: {result['logps']:.1e} at most, {result['mean_logps']:.1e} in the mean")
    assert 1e-5 < result["logps"] < 5e-2
    updates = result["updates"]
    assert all(update["finite"] for update in updates)
    assert updates[2]["value"] < updates[1]["value"] < updates[0]["value"]
    assert all(update["grad_norm"] < 0.1 for update in updates)
    # Norms are about 1, where bfloat16 is exact to 4e-3; what Adam works on is not rounded.
    assert all(update["weights"] < 8e-3 for update in updates)


def test_the_models_have_what_makes_layouts_differ():
    config = model_config("llama")
    assert config.vocab_size % 2
    assert config.num_key_value_heads < config.num_attention_heads
