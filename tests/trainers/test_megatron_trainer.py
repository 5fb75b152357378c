"""A training on a Megatron job is the training on one device, in any layout, also when it is interrupted."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import megatron_cases
import psutil
import pytest
import tiny
from megatron_cases import SETTINGS, BrokenLoss, DeadlyLoss, build, processes_of, saved_model
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import AutoConfig, TrainerCallback

ONE = {"processes": 1}
TP2 = {"processes": 2, "tensor_parallel": 2}
PP2 = {"processes": 2, "pipeline_parallel": 2}
TESTS = Path(tiny.__file__).parent
PATHS = os.pathsep.join(map(str, [TESTS.parent, TESTS, TESTS / "trainers"]))
SAME = {
    "loss", "grad_norm", "learning_rate", "reward", "reward_std", "entropy", "completions/mean_length",
    "k15/rho_mean", "k15/rho_std", "k15/rho_abs_max", "k15/penalty_share", "k15/dead_groups", "k15/baseline",
    "k15/accuracy",
}  # fmt: skip


def updates(trainer):
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def weights(folder):
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def assert_same_training(ours, theirs):
    assert len(ours) == len(theirs)
    assert set(SAME) <= ours[0].keys()
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name in SAME & mine.keys():
            assert mine[name] == pytest.approx(other[name], abs=1e-4, rel=1e-5), name


def assert_same_weights(ours, theirs):
    assert {name: each.shape for name, each in ours.items()} == {name: each.shape for name, each in theirs.items()}
    assert max((each - theirs[name]).abs().max().item() for name, each in ours.items()) < 1e-5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved_model(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def on_two_ranks(model, tmp_path_factory):
    """A folder with a checkpoint in the middle of the second iteration and the end, and the metrics."""
    folder = tmp_path_factory.mktemp("tp2")
    trainer = build(folder, model, TP2)
    trainer.train()
    trainer.save_model(str(folder / "end"))
    trainer.engine.close()
    return folder, updates(trainer)


def test_two_ranks_train_as_one_device(on_two_ranks, model, tmp_path):
    folder, ours = on_two_ranks
    trainer = tiny.trainer(tmp_path, model=model, **SETTINGS)
    start = {name: each.clone() for name, each in trainer.model.state_dict().items()}
    trainer.train()
    trainer.save_model(str(tmp_path / "end"))
    assert len(ours) == 6
    assert_same_training(ours, updates(trainer))
    expected = weights(tmp_path / "end")
    assert_same_weights(weights(folder / "end"), expected)
    # What is compared happens: weights move, the norm is clipped, rollouts go on in the next iteration.
    assert max((expected[name] - start[name]).abs().max().item() for name in expected) > 1e-3
    assert max(entry["grad_norm"] for entry in ours) > SETTINGS["max_grad_norm"]
    assert max(entry["k15/rho_abs_max"] for entry in ours) > 1e-2
    lengths = [entry["completions/mean_length"] for entry in ours if "completions/mean_length" in entry]
    assert len(lengths) == 3
    assert min(lengths) > SETTINGS["rollout_budget_tokens"]


def test_a_training_goes_on_in_another_layout(on_two_ranks, model, tmp_path):
    folder, whole = on_two_ranks
    trainer = build(tmp_path, model, PP2)
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-3"))
    trainer.save_model(str(tmp_path / "end"))
    trainer.engine.close()
    # The log of what came before the checkpoint comes with it.
    assert_same_training(updates(trainer), whole)
    assert_same_weights(weights(tmp_path / "end"), weights(folder / "end"))


class Break(TrainerCallback):
    """Breaks the loss of the second update, and notes the weights before and after each."""

    def __init__(self):
        self.weights = []

    def note(self):
        self.weights.append({name: each.clone() for name, each in self.trainer.engine.export_weights()})

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 0:
            self.note()
        if state.global_step == 1:
            loss = self.trainer._update_loss()
            self.trainer._update_loss = lambda: BrokenLoss(loss)

    def on_step_end(self, args, state, control, **_):
        self.note()
        vars(self.trainer).pop("_update_loss", None)


def test_an_update_that_is_not_finite_is_skipped(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PATHS)
    watch = Break()
    watch.trainer = build(tmp_path, model, TP2, callbacks=[watch], max_steps=3, save_strategy="no")
    watch.trainer.train()
    watch.trainer.engine.close()
    start, first, second, third = watch.weights
    assert any((first[name] != start[name]).any() for name in start)
    assert all((second[name] == first[name]).all() for name in start)
    assert any((third[name] != second[name]).any() for name in start)
    assert all(each.isfinite().all() for each in third.values())
    assert tiny.logs(watch.trainer, "k15/skipped_updates") == [0, 1, 0]


class KillRank(TrainerCallback):
    """Kills a rank before the second update, or in the middle of it."""

    def __init__(self, in_the_middle):
        self.in_the_middle = in_the_middle

    def on_step_begin(self, args, state, control, **_):
        if state.global_step != 1:
            return
        self.processes = processes_of(self.trainer)
        if self.in_the_middle:
            loss = self.trainer._update_loss()
            self.trainer._update_loss = lambda: DeadlyLoss(loss)
        else:
            self.processes[-1].kill()


@pytest.mark.parametrize("in_the_middle", [False, True])
def test_a_killed_rank_is_said_and_nothing_stays(model, tmp_path, monkeypatch, in_the_middle):
    monkeypatch.setenv("PYTHONPATH", PATHS)
    kill = KillRank(in_the_middle)
    kill.trainer = build(tmp_path, model, TP2, callbacks=[kill])
    message = r"a rank of the Megatron job died \(exit code 1\) before or during train_batch; .* Resume from the last"
    with pytest.raises(RuntimeError, match=message):
        kill.trainer.train()
    assert kill.trainer.state.global_step == 1
    assert still_running(kill.processes) == []
    with pytest.raises(RuntimeError, match="a rank of the Megatron job died"):
        kill.trainer.engine.memory()
    kill.trainer.engine.close()


def still_running(processes, timeout_seconds=60):
    deadline = time.monotonic() + timeout_seconds
    while not all(map(has_ended, processes)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [process for process in processes if not has_ended(process)]


def has_ended(process):
    try:
        # Nobody may ask for its exit code.
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_killed_trainer_leaves_no_rank(tmp_path):
    trainer = subprocess.Popen(
        [sys.executable, megatron_cases.__file__, str(tmp_path)], env=os.environ | {"PYTHONPATH": PATHS}
    )
    deadline = time.monotonic() + 200
    while not (tmp_path / "pids").exists():
        assert trainer.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    processes = [psutil.Process(int(number)) for number in (tmp_path / "pids").read_text().split()]
    assert len(processes) == 3
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    assert still_running(processes) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": 0.1}, "beta=0.1 needs the starting policy as a second model, which backend=megatron does not hold"),
        ({"peft_config": LoraConfig()}, "backend=megatron trains whole models; leave out the adapters"),
        ({"optim": "sgd"}, "is not Megatron's Adam; leave it out"),
        ({"cast_lm_head_to_fp32": True}, "changes the trainer's model, which the engine does not see"),
        ({"use_liger_kernel": True}, "use_liger_kernel=True has no effect on backend=megatron"),
        ({"optim_args": "eps=1"}, "optim_args='eps=1' has no effect on backend=megatron"),
        ({"model_init_kwargs": {"dtype": "float32"}}, "has no effect on backend=megatron"),
    ],
)
def test_what_the_engine_would_leave_out_is_refused_before_a_model_is_loaded(tmp_path, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(tmp_path, str(tmp_path / "no_model"), TP2, **changes)


@pytest.mark.parametrize(
    ("family", "of_model", "changes", "message"),
    [
        ("qwen3_moe", {"norm_topk_prob": True}, {}, "router_aux_loss_coef=0.001 adds a loss that balances experts"),
        ("llama", {"attention_dropout": 0.1}, {"disable_dropout": False}, "keeps the model's attention_dropout=0.1"),
    ],
)
def test_what_the_config_of_a_model_asks_for_is_refused(tmp_path, family, of_model, changes, message):
    AutoConfig.for_model(family, **of_model).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        build(tmp_path, str(tmp_path), ONE, **changes)
