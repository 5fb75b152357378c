"""Partial rollouts on one process and on two (gloo): the same groups, the same loss."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

JOB = Path(__file__).with_name("train_on_partial_rollouts.py")
SAME = [
    "loss",
    "grad_norm",
    "reward",
    "k15/rho_mean",
    "k15/rho_abs_max",
    "k15/penalty_share",
    "k15/baseline",
    "entropy",
]


def run(folder, processes):
    folder.mkdir()
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    paths = os.pathsep.join([str(JOB.parent), str(JOB.parents[1]), str(JOB.parents[2])])
    env = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, str(JOB), str(folder), str(processes)], env=env, check=True, timeout=300)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(processes)]


def test_two_processes_equal_one(tmp_path):
    (one,) = run(tmp_path / "one", 1)
    first, second = run(tmp_path / "two", 2)
    assert first["processes"] == 2
    assert first["held"] == second["held"] == one["held"]
    assert first["rates"] == second["rates"] == one["rates"]
    assert len(first["rollouts"]) == len(one["rollouts"])
    for ours, theirs in zip(first["rollouts"], one["rollouts"], strict=True):
        for name in ("problem", "response", "segments", "stop", "right"):
            assert ours[name] == theirs[name]
        assert ours["advantage"] == pytest.approx(theirs["advantage"], abs=1e-6)
    for ours, theirs in zip(first["logs"], one["logs"], strict=True):
        for name in SAME:
            if name in theirs:
                assert ours[name] == pytest.approx(theirs[name], abs=1e-5), name

    # What makes it a test: batches that are not full, groups that straddle the processes, and older segments.
    groups = [entry["rollouts/batch_fill"] * 3 for entry in one["logs"] if "rollouts/batch_fill" in entry]
    assert {round(number) % 2 for number in groups} == {0, 1}
    assert any(len(each["segments"]) > 1 for each in one["rollouts"])
    assert max(entry["k15/rho_abs_max"] for entry in one["logs"]) > 0.02
