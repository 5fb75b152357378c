"""Real runs of the smoke recipe: from the command line, in plain Python, killed and resumed, on two processes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from k15_plugins.files.jsonl import read_lines
from k15_plugins.runs.figures import check_metric
from k15_plugins.stages.reinforce import checkpoint_to_resume
from k15_plugins.trainers.checkpoint import MANIFEST, begin_checkpoint

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
    assert done.stderr == ""  # no warning that is left over, no bar
    for said in ("loading torch and TRL", "64 problems to train on, 16 held out", "each iteration 4 problems x 4"):
        assert f"k15: {said}" in done.stdout
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith(("iteration", "held-out"))] == [
        "held-out after iteration 0/4",
        *(f"{what} {i}/4" for i in range(1, 5) for what in ("iteration", "held-out after iteration")),
    ]
    assert all(len(line) <= 80 for line in lines if " -c " not in line)
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
from k15_plugins.models import untrained
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


def test_every_figure_of_a_run_can_be_the_one_that_a_sweep_compares(whole):
    config = yaml.safe_load((whole / "config.yaml").read_text())
    for name in {name for line in recorded(whole, "metrics.jsonl") for name in line}:
        check_metric(config | {"metric": name})


def test_the_same_objects_in_plain_python_give_the_same_run(whole, tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", PLAIN_PYTHON, str(tmp_path)], env=env, check=True, timeout=300)
    assert recorded(tmp_path, "rollouts.jsonl") == recorded(whole, "rollouts.jsonl")
    assert recorded(tmp_path, "metrics.jsonl") == recorded(whole, "metrics.jsonl")


def reached(folder: Path) -> int:
    return max((line["step"] for line in read_lines(folder / "metrics.jsonl")), default=0)


def kill_job(launcher: subprocess.Popen) -> None:
    """Kill the job's own process group and let its launcher say so."""
    for job in psutil.Process(launcher.pid).children():
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
    launcher.communicate(timeout=60)
    assert launcher.returncode in (0, 1)  # 0 if the job was quicker


def kill_launcher(launcher: subprocess.Popen) -> None:
    launcher.send_signal(signal.SIGKILL)
    launcher.communicate()


def test_a_run_killed_at_random_moments_goes_on_as_if_nothing_had_happened(whole, tmp_path):
    kill_and_go_on(COMMAND, whole, tmp_path, three_moments(tmp_path / "run"))


def test_so_does_one_with_rollouts_under_way(tmp_path):
    trained = [word for word in COMMAND if word != "model=untrained"]
    command = (*trained, "+trainer.args.rollout_budget_tokens=16", "+trainer.args.rollout_pool_groups=8")
    done = run(tmp_path, *command, "hydra.run.dir=whole")
    assert done.returncode == 0, done.stderr
    rollouts = recorded(tmp_path / "whole", "rollouts.jsonl")
    assert any(len(each["segments"]) > 1 for each in rollouts)
    kill_and_go_on(command, tmp_path / "whole", tmp_path, three_moments(tmp_path / "run"))


def test_so_does_one_on_a_megatron_job(tmp_path):
    command = (*COMMAND, "backend=megatron", "backend.processes=2", "backend.tensor_parallel=2")
    done = run(tmp_path, *command, "hydra.run.dir=whole")
    assert done.returncode == 0, done.stderr
    saved = tmp_path / "run" / "checkpoints" / "checkpoint-3" / MANIFEST
    kill = random.SystemRandom().choice([kill_launcher, kill_job])
    kill_and_go_on(command, tmp_path / "whole", tmp_path, [(saved.exists, kill)])


def three_moments(folder):
    """Return when to kill a run, and how."""
    early, late = sorted(random.SystemRandom().sample(range(8), 2))
    kills = [kill_launcher, kill_job]
    random.SystemRandom().shuffle(kills)
    last = folder / "checkpoints" / "checkpoint-8" / MANIFEST
    print(f"killed after steps {early} and {late} by {[kill.__name__ for kill in kills]}")
    return [
        (lambda: reached(folder) >= early, kills[0]),
        (lambda: reached(folder) >= late, kills[1]),
        (last.exists, kill_job),  # when all is trained and saved, but the run is not finished
    ]


def kill_and_go_on(command, whole, tmp_path, moments):
    folder = tmp_path / "run"
    for number, (is_time, kill) in enumerate(moments):
        process = start(tmp_path, *command, "hydra.run.dir=run" if number == 0 else "resume=run")
        end = time.monotonic() + 200
        # Before its config is written, there is no run that could go on.
        while not (folder / "config.yaml").exists() or not is_time():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
        if number < 2:
            time.sleep(random.SystemRandom().uniform(0, 0.3))
        kill(process)
    # What a kill in the middle of a save leaves.
    begin_checkpoint(folder / "checkpoints" / "checkpoint-99")
    done = run(tmp_path, *command, "resume=run")
    assert done.returncode == 0, done.stderr
    assert recorded(folder, "rollouts.jsonl") == recorded(whole, "rollouts.jsonl")
    # The sum of the end is missing where the end of a complete training was.
    assert without_sum(recorded(folder, "metrics.jsonl")) == without_sum(recorded(whole, "metrics.jsonl"))
    assert model_bytes(folder) == model_bytes(whole)


def without_sum(lines: list[dict]) -> list[dict]:
    return [line for line in lines if "total_flos" not in line]


def model_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((folder / "model").glob("*.safetensors")))


def test_a_finished_run_is_not_trained_on(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    before = (folder / "metrics.jsonl").read_bytes()
    done = run(tmp_path, *COMMAND, "trainer.args.report_to=tensorboard", "resume=run")
    assert done.returncode == 0, done.stderr
    assert (folder / "metrics.jsonl").read_bytes() == before
    assert recorded(folder, "rollouts.jsonl") == recorded(whole, "rollouts.jsonl")
    assert model_bytes(folder) == model_bytes(whole)
    assert not (folder / "checkpoints" / "checkpoint-9").exists()
    figures = [json.loads((each / "status.json").read_text())["figures"] for each in (folder, whole)]
    assert figures[0] == figures[1]


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
    assert done.stderr == ""
    assert "k15: right answers on held-out problems 0.000 -> 0.000" in done.stdout


@pytest.mark.parametrize("backend", [pytest.param("accelerate", marks=pytest.mark.slow), "fsdp"])
def test_two_processes(backend, tmp_path):
    halves = ("backend.processes=2", "trainer.args.per_device_train_batch_size=4", "trainer.args.max_steps=4")
    done = run(tmp_path, *COMMAND, f"backend={backend}", *halves, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    # The 16 rollouts of an iteration are those of both processes, written once.
    assert len(recorded(tmp_path / "run", "rollouts.jsonl")) == 2 * 16
    assert done.stdout.count("\niteration 2/2") == 1
    assert done.stderr.count("Warning") <= 1  # DDP's, of one rank
    saved = (tmp_path / "run" / "model" / "model.safetensors").stat().st_size
    assert saved > 4 * 345_000  # all weights, whoever held them


@pytest.mark.parametrize(
    "words",
    [
        # Two iterations each: stock GRPO, hard problems only from the second iteration on, problems of a file.
        ("+recipe=grpo", "trainer.args.steps_per_generation=2"),
        pytest.param(
            (*COMMAND[:3], "sampler=curriculum", "sampler.schedule.switch_iteration=1"), marks=pytest.mark.slow
        ),
        ("+recipe=kimi_rl", "task=jsonl", "task.path=problems.jsonl", "reward=exact_match"),
    ],
    ids=["grpo", "curriculum", "jsonl"],
)
def test_other_recipes_run(words, tmp_path):
    rows = [{"prompt": f"{a} + {b} =", "answer": str(a + b)} for a in range(1, 9) for b in range(1, 9)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    small = {
        "trainer.args.num_generations": 4,
        "trainer.args.per_device_train_batch_size": 8,
        "trainer.args.max_completion_length": 24,
        "trainer.args.max_steps": 4,
        "trainer.args.save_steps": 2,
        "trainer.args.eval_steps": 4,
    }
    if "+recipe=grpo" not in words:
        small |= {"trainer.args.updates_per_iteration": 2}
    if "task=jsonl" not in words:
        small |= {"task.train_size": 64, "task.held_out_size": 16}
    done = run(tmp_path, *words, *(f"{key}={value}" for key, value in small.items()), "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    rollouts = recorded(tmp_path / "run", "rollouts.jsonl")
    assert len(rollouts) == 2 * 16
    assert {each["iteration"] for each in rollouts} == {0, 1}
    if "task=jsonl" in words:
        assert {each["prompt"] for each in rollouts} <= {row["prompt"] for row in rows}
    if "sampler=curriculum" in words:
        hard = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["sampler"]["schedule"]["hard_level"]
        assert all(each["level"] >= hard for each in rollouts if each["iteration"] == 1)
        assert any(each["level"] < hard for each in rollouts if each["iteration"] == 0)
    figures = json.loads((tmp_path / "run" / "status.json").read_text())["figures"]
    assert {"loss", "reward", "k15/accuracy", "eval_k15/accuracy"} <= figures.keys()
