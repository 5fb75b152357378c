"""Real runs of the smoke recipe: from the command line, in plain Python, killed and resumed, on two processes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from k15_plugins.report.history import read_lines
from k15_plugins.runs.stages import checkpoint_to_resume
from k15_plugins.trainers.checkpoint import begin_checkpoint

ROOT = Path(__file__).parents[2]
# Saved in the middle of the second iteration (updates 2 and 3) and at the end.
COMMAND = ("+recipe=smoke", "model=untrained", "seed=3", "trainer.args.save_steps=3", "trainer.args.max_steps=8")
# The last line of a training sums up what its own process did.
LEFT_OUT = ("seconds", "time", "per_second", "train_loss")


def start(folder: Path, *words: str) -> subprocess.Popen:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "k15_plugins", *words]
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    process = start(folder, *words)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def recorded(folder: Path, name: str) -> list[dict]:
    """Lines of a file without what cannot be the same twice."""
    lines = read_lines(folder / name)
    return [{key: value for key, value in line.items() if not any(word in key for word in LEFT_OUT)} for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    done = run(folder, *COMMAND, "hydra.run.dir=run", "trainer.args.report_to=tensorboard")
    assert done.returncode == 0, done.stderr
    assert "iteration 4/4  reward" in done.stdout
    return folder / "run"


def test_a_run_leaves_everything(whole):
    status = json.loads((whole / "status.json").read_text())
    assert status["state"] == "finished"
    assert {"reward", "k15/accuracy", "eval_k15/accuracy", "k15/rho_abs_mean"} <= status["figures"].keys()
    assert {line["step"] for line in recorded(whole, "metrics.jsonl")} == set(range(9))
    rollouts = recorded(whole, "rollouts.jsonl")
    assert len(rollouts) == 4 * 16
    assert {"prompt", "response", "rewards", "problem", "level", "right", "tokens"} <= rollouts[0].keys()
    assert (whole / "model" / "model.safetensors").exists()
    assert {path.stem for path in (whole / "report").glob("*.png")} == {
        "reward",
        "accuracy",
        "tokens",
        "rho",
        "success_map",
    }
    page = (whole / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "Worst rollouts" in page
    assert list((whole / "checkpoints").rglob("events.out.tfevents*"))


PLAIN_PYTHON = """
import sys

from k15_plugins import MirrorDescentConfig, MirrorDescentTrainer, PrioritizedSampler, ReasoningGymReward
from k15_plugins.report.recorder import RunRecorder
from k15_plugins.runs.models import untrained
from k15_plugins.tasks.reasoning_gym import Task, reasoning_gym_problems

levels = [{"min_terms": terms, "max_terms": terms} for terms in (3, 4, 5, 6)]
problems = reasoning_gym_problems(
    [Task("chain_sum", config={"min_digits": 1, "max_digits": 1}, levels=levels)],
    train_size=64,
    held_out_size=16,
    template="{metadata[expression]} =",
)
args = MirrorDescentConfig(
    output_dir=sys.argv[1] + "/checkpoints",
    seed=3,
    num_generations=4,
    per_device_train_batch_size=8,
    updates_per_iteration=2,
    gradient_accumulation_steps=1,
    max_steps=8,
    tau=0.3,
    learning_rate=2e-4,
    lr_scheduler_type="constant",
    max_grad_norm=1.0,
    length_penalty_weight=0.5,
    length_penalty_warmup_iterations=1,
    max_completion_length=48,
    temperature=1.0,
    bf16=False,
    gradient_checkpointing=False,
    use_cpu=True,
    eval_strategy="steps",
    eval_steps=2,
    eval_on_start=True,
    num_generations_eval=1,
    per_device_eval_batch_size=16,
    logging_steps=1,
    save_steps=3,
    report_to="none",
)
model, tokenizer = untrained(seed=3)
trainer = MirrorDescentTrainer(
    model=model,
    reward_funcs=[ReasoningGymReward()],
    args=args,
    train_dataset=problems.train,
    eval_dataset=problems.held_out,
    processing_class=tokenizer,
    callbacks=[RunRecorder(sys.argv[1])],
    sampler=PrioritizedSampler(len(problems.train), seed=3),
)
trainer.train()
"""


def test_the_same_objects_in_plain_python_give_the_same_run(whole, tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", PLAIN_PYTHON, str(tmp_path)], env=env, check=True, timeout=300)
    assert recorded(tmp_path, "rollouts.jsonl") == recorded(whole, "rollouts.jsonl")
    assert recorded(tmp_path, "metrics.jsonl") == recorded(whole, "metrics.jsonl")


def reached(folder: Path) -> int:
    return max((line["step"] for line in read_lines(folder / "metrics.jsonl")), default=0)


def test_a_run_killed_at_random_moments_goes_on_as_if_nothing_had_happened(whole, tmp_path):
    folder = tmp_path / "run"
    moments = sorted(random.SystemRandom().sample(range(8), 2))
    print(f"killed after steps {moments}")
    for number, moment in enumerate(moments):
        process = start(tmp_path, *COMMAND, "hydra.run.dir=run" if number == 0 else "resume=run")
        end = time.monotonic() + 200
        # Before its config is written, there is no run that could go on.
        while not (folder / "config.yaml").exists() or reached(folder) < moment:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(random.SystemRandom().uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    # What a kill in the middle of a save leaves.
    begin_checkpoint(folder / "checkpoints" / "checkpoint-99")
    done = run(tmp_path, *COMMAND, "resume=run")
    assert done.returncode == 0, done.stderr
    for name in ("rollouts.jsonl", "metrics.jsonl"):
        assert recorded(folder, name) == recorded(whole, name)


def test_a_foreign_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoints" / "checkpoint-best").mkdir(parents=True)  # not named as a checkpoint
    assert checkpoint_to_resume(tmp_path) is None
    (tmp_path / "checkpoints" / "checkpoint-7").mkdir()
    with pytest.raises(ValueError, match=r"checkpoint-7 has no k15_manifest\.json: it was not written by k15_plugins"):
        checkpoint_to_resume(tmp_path)
    begin_checkpoint(tmp_path / "checkpoints" / "checkpoint-7")
    assert checkpoint_to_resume(tmp_path) is None


def test_a_truncated_checkpoint_is_refused(whole):
    file = whole / "checkpoints" / "checkpoint-8" / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:1000])
    try:
        done = run(whole.parent, *COMMAND, "trainer.args.report_to=tensorboard", "resume=run")
    finally:
        file.write_bytes(content)
    assert done.returncode == 1
    refusals = [line for line in done.stderr.splitlines() if line.startswith("k15:")]
    assert len(refusals) == 1
    assert "checkpoint-8 is truncated: model.safetensors is 1000 bytes long" in refusals[0]
    assert "Traceback" not in done.stderr


def test_a_warm_start(tmp_path):
    small = ("task.train_size=64", "task.held_out_size=16", "stage.train.traces=64", "stage.train.max_new_tokens=16")
    done = run(
        tmp_path, "+recipe=warm_start", *small, "stage.train.sft.per_device_train_batch_size=32", "hydra.run.dir=run"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
    assert [line["step"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")] == [0, 1]
    assert "accuracy" in json.loads((tmp_path / "run" / "status.json").read_text())["figures"]


@pytest.mark.parametrize("backend", ["accelerate", "fsdp"])
def test_two_processes(backend, tmp_path):
    halves = ("backend.processes=2", "trainer.args.per_device_train_batch_size=4", "trainer.args.max_steps=4")
    done = run(tmp_path, *COMMAND, f"backend={backend}", *halves, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    # The 16 rollouts of an iteration are those of both processes, written once.
    assert len(recorded(tmp_path / "run", "rollouts.jsonl")) == 2 * 16
    assert done.stdout.count("iteration 2/2") == 1
    saved = (tmp_path / "run" / "model" / "model.safetensors").stat().st_size
    assert saved > 4 * 345_000  # all weights, whoever held them
