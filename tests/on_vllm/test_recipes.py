"""Recipes on a real vLLM engine, from the command line."""

import json
import subprocess
import sys

import pieces
import pytest
from transformers import AutoModelForCausalLM

from k15_plugins.generation.engines import prepare_vllm

SMALL = [
    "task.train_size=64", "task.held_out_size=8", "trainer.args.max_steps=4", "trainer.args.updates_per_iteration=2",
    "trainer.args.per_device_train_batch_size=8", "trainer.args.num_generations=4",
    "trainer.args.max_completion_length=24", "trainer.args.eval_steps=4", "trainer.args.per_device_eval_batch_size=8",
    "+trainer.args.vllm_max_model_length=128",
]  # fmt: skip


def test_the_recipe_runs_on_vllm_with_partial_rollouts(tmp_path):
    model = pieces.save_model(tmp_path / "model")
    run = tmp_path / "run"
    rollouts = ["+trainer.args.rollout_budget_tokens=8", "generation=vllm_colocate"]
    command = [sys.executable, "-m", "k15_plugins", "+recipe=kimi_rl", "model=hub", f"model.name={model}", *SMALL]
    done = subprocess.run(
        [*command, *rollouts, f"hydra.run.dir={run}"], cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    gaps = [line["k15/rollout_logp_gap_max"] for line in lines if "k15/rollout_logp_gap_max" in line]
    assert len(gaps) == 2
    assert max(gaps) <= 1e-5
    rollouts = [json.loads(line) for line in (run / "rollouts.jsonl").read_text().splitlines()]
    assert all(sum(tokens for _, tokens in each["segments"]) == each["tokens"] for each in rollouts)
    assert "report.html" in {path.name for path in run.iterdir()}


def test_a_model_that_lies_nowhere_is_refused(tmp_path):
    class Args:
        use_vllm = True

    model = AutoModelForCausalLM.from_pretrained(pieces.save_model(tmp_path))
    model.name_or_path = ""
    with pytest.raises(ValueError, match="this one was built in memory; save it with save_pretrained"):
        prepare_vllm(model, Args())
