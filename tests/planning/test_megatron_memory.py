"""The arithmetic of a layout's memory against engines that are built and updated on rows of growing length."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_models import config, save

from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.planning.megatron_memory import main, needs, state_bytes, token_bytes, weights_of_stage

JOB = Path(__file__).with_name("measure_memory.py")
LENGTHS = [2048, 8192]
RECOMPUTE = {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1}
CASES = {
    # The vocabulary does not divide; its logits are most of the activations.
    "TP2": (
        "qwen2",
        {"vocab_size": 4095},
        {"processes": 2, "tensor_parallel": 2, "sequence_parallel": True},
        {"dtype": "bfloat16", "transformer": RECOMPUTE},
    ),
    "PP2": (
        "llama",
        {"tie_word_embeddings": True},
        {"processes": 2, "pipeline_parallel": 2},
        {"transformer": RECOMPUTE},
    ),
    "EP2": ("qwen3_moe", {}, {"processes": 2, "expert_parallel": 2}, {}),
}


@pytest.fixture(scope="module", params=CASES)
def measured(request, tmp_path_factory):
    """A case, and what each rank of its job held."""
    kind, changes, layout, engine = CASES[request.param]
    folder = tmp_path_factory.mktemp("case")
    save(kind, folder, **changes)
    path = folder / "case.json"
    path.write_text(json.dumps({"folder": str(folder), "layout": layout, "engine": engine, "lengths": LENGTHS}))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    # Blocks of this size and above go back to the system when they are freed, so that the peak is that of tensors.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    subprocess.run([*torchrun, str(JOB), str(path)], env=environment, check=True)
    ranks = [json.loads(Path(f"{path}.{rank}").read_text()) for rank in range(2)]
    return config(kind, **changes), MegatronLayout(**layout), engine, ranks


def test_weights_gradients_and_optimizer_are_exact(measured):
    model, layout, engine, ranks = measured
    value_bytes = 2 if "dtype" in engine else 4
    stages = [rank if layout.pipeline_parallel > 1 else 0 for rank in range(2)]
    predicted = [state_bytes(weights_of_stage(model, layout, stage), layout, value_bytes) for stage in stages]
    for rank, expected in zip(ranks, predicted, strict=True):
        assert rank["weights"] == expected["weights"]
        assert rank["gradients"] == expected["gradients"]
        # Replicas share buffers that are padded to multiples of 128 entries of 8 bytes.
        assert rank["optimizer"] == pytest.approx(expected["optimizer"], abs=128 * 8)
    assert sum(rank["optimizer"] for rank in ranks) == sum(expected["optimizer"] for expected in predicted)


def test_slope_of_the_peak_is_within_a_fifth(measured):
    model, layout, engine, ranks = measured
    for place, rank in enumerate(ranks):
        stage = place if layout.pipeline_parallel > 1 else 0
        slope = (rank["peaks"][1] - rank["peaks"][0]) / (LENGTHS[1] - LENGTHS[0])
        predicted = token_bytes(model, layout, stage, 2 if "dtype" in engine else 4, "transformer" in engine)
        assert predicted == pytest.approx(slope, rel=0.2)


def test_replicas_share_the_optimizer_and_nothing_else():
    model = config("llama")
    one, four = (needs(model, MegatronLayout(processes), tokens=64)[0] for processes in (1, 4))
    assert four["optimizer"] == one["optimizer"] / 4
    assert all(four[name] == one[name] for name in ("weights", "gradients", "activations and logits"))


def test_an_interleaved_pipeline_is_refused():
    layout = MegatronLayout(2, pipeline_parallel=2, virtual_pipeline=2)
    with pytest.raises(ValueError, match="interleaved"):
        needs(config("llama"), layout, tokens=64)


def test_the_command_prints_what_needs_returns(tmp_path, capsys):
    model = config("llama", vocab_size=65_536)
    model.save_pretrained(tmp_path)
    main([str(tmp_path), "--processes", "2", "--pipeline-parallel", "2", "--tokens", "65536"])
    printed = capsys.readouterr().out
    stages = needs(model, MegatronLayout(2, pipeline_parallel=2), tokens=65_536)
    assert len(stages) == printed.count("stage") == 2
    for parts in stages:
        for name, size in parts.items():
            assert f"{name}: {size:8.2f}" in printed
    # 65,536 tokens x 65,536 entries x 20 bytes at the loss of the last stage.
    assert 80 < stages[1]["in all"] < 81 < 81 + stages[0]["in all"]
