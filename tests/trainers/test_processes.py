"""One process and two (gloo) give the same training, with straddling groups; so does FSDP2; and both resume."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

JOB = Path(__file__).with_name("train_on_fixed_rollouts.py")
BREAKING = Path(__file__).with_name("train_with_broken_updates.py")
FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer",
    "ACCELERATE_USE_CPU": "true",
}
SAME = [
    "loss", "grad_norm", "reward", "rewards/length_reward/mean", "k15/rho_mean", "k15/rho_std", "k15/rho_abs_max",
    "k15/penalty_share", "k15/dead_groups", "k15/baseline", "k15/accuracy", "entropy", "completions/mean_length",
]  # fmt: skip


def run(folder, processes, wrapper, *checkpoint, job=JOB):
    folder.mkdir()
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    paths = os.pathsep.join([str(JOB.parents[1]), str(JOB.parents[2])])
    env = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | (FSDP if wrapper.startswith("FSDP") else {})
    subprocess.run([*launcher, str(job), str(folder), str(processes), *checkpoint], env=env, check=True, timeout=300)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(processes)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return run(tmp_path_factory.mktemp("one") / "run", 1, "plain")[0]


@pytest.mark.parametrize("wrapper", ["DistributedDataParallel", "FSDPLlamaForCausalLM"])
def test_two_processes_equal_one_and_resume(one, tmp_path, wrapper):
    first, second = run(tmp_path / "run", 2, wrapper)
    assert first["processes"] == 2
    assert first["wrapper"] == second["wrapper"] == wrapper
    assert first["drawn"] == second["drawn"] == one["drawn"]
    assert first["rates"] == second["rates"] == one["rates"]

    assert len(first["rollouts"]) == len(one["rollouts"]) == 48
    assert second["rollouts"] == []
    for ours, theirs in zip(first["rollouts"], one["rollouts"], strict=True):
        assert [ours[name] for name in ("problem", "response", "tokens", "right")] == [
            theirs[name] for name in ("problem", "response", "tokens", "right")
        ]
        assert ours["rewards"] == pytest.approx(theirs["rewards"], abs=1e-6)
        assert ours["advantage"] == pytest.approx(theirs["advantage"], abs=1e-6)
    assert any(each["rewards"]["length_reward"] != 0 for each in one["rollouts"])

    assert len(first["logs"]) == len(one["logs"]) == 8
    for ours, theirs in zip(first["logs"], one["logs"], strict=True):
        for name in SAME:
            if name in theirs:
                assert ours[name] == pytest.approx(theirs[name], abs=1e-5), name
    assert max(entry["k15/rho_abs_max"] for entry in one["logs"]) > 0.05

    # In the middle of the third iteration.
    again = run(tmp_path / "again", 2, wrapper, str(tmp_path / "run" / "checkpoint-5"))
    for ours, theirs in zip(again, (first, second), strict=True):
        assert [without_clocks(entry) for entry in ours["logs"]] == [without_clocks(entry) for entry in theirs["logs"]]
        assert ours["rates"] == theirs["rates"]
        assert ours["rollouts"] == [each for each in theirs["rollouts"] if each["iteration"] > 2]


@pytest.mark.parametrize(
    "wrapper", [pytest.param("DistributedDataParallel", marks=pytest.mark.slow), "FSDPLlamaForCausalLM"]
)
def test_an_update_that_is_not_finite_on_one_rank_is_skipped_on_all(tmp_path, wrapper):
    first, second = run(tmp_path / "run", 2, wrapper, job=BREAKING)
    assert first == second | {"skipped": first["skipped"]}  # the main process logs
    assert first["wrapper"] == wrapper
    assert first["moved"] == [True, False, True, False, True, False, False, False]
    assert first["skipped"] == [0, 1, 0, 1, 0, 1, 1, 1]
    assert "3 updates in a row were not finite (the last one: loss nan, gradient norm nan)" in first["message"]
    assert (tmp_path / "run" / "checkpoint-8" / "k15_manifest.json").exists()


def without_clocks(entry):
    return {name: value for name, value in entry.items() if "time" not in name}
