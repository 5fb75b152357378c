"""Training goes on from any checkpoint bit by bit, and unusable checkpoints are refused."""

import shutil

import pytest
import tiny
import torch
from transformers import TrainerCallback

from k15_plugins import PrioritizedSampler, SampledGRPOTrainer
from k15_plugins.trainers.checkpoint import MANIFEST, begin_checkpoint, check_checkpoint, is_half, latest_checkpoint

CLOCKS = ("step_time", "runtime", "per_second")


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def figures(trainer):
    return [
        {name: value for name, value in entry.items() if not any(clock in name for clock in CLOCKS)}
        for entry in trainer.state.log_history
        if "train_runtime" not in entry
    ]


def build(folder, **changes):
    sampler = PrioritizedSampler(12, seed=5)
    settings = {
        "updates_per_iteration": 3,
        "per_device_train_batch_size": 8,
        "max_steps": 10,
        "save_strategy": "steps",
        "save_steps": 1,
        "max_completion_length": 24,
        "length_penalty_weight": 1.0,
        "length_penalty_warmup_iterations": 2,
        "lr_warmup_updates": 2,
        "max_refills": 1,
        "eval_dataset": tiny.problems(4),
        "eval_strategy": "steps",
        "eval_steps": 4,
        "num_generations_eval": 1,
        "per_device_eval_batch_size": 4,
        "lr_scheduler_type": "linear",
    }
    return tiny.trainer(folder, sampler=sampler, **settings | changes)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trainer = build(folder)
    trainer.train()
    return folder, figures(trainer)


@pytest.mark.parametrize("step", [1, 3, 4, 5, 8])
def test_metrics_after_resuming_are_bit_equal(uninterrupted, tmp_path, step):
    folder, expected = uninterrupted
    shutil.copytree(folder / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    trainer = build(tmp_path)
    trainer.train(resume_from_checkpoint=True)
    assert figures(trainer) == expected
    assert any("eval_k15/accuracy" in entry for entry in expected)


@pytest.fixture(scope="module")
def seldom_logged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seldom")
    trainer = build(folder, logging_steps=3)
    trainer.train()
    return folder, figures(trainer)


@pytest.mark.parametrize("step", [1, 5, 6])
def test_the_running_loss_of_a_checkpoint_between_two_logs_goes_on(uninterrupted, seldom_logged, tmp_path, step):
    folder, expected = seldom_logged
    trainer = build(tmp_path, logging_steps=3)
    result = trainer.train(resume_from_checkpoint=folder / f"checkpoint-{step}")
    assert figures(trainer) == expected
    # What transformers sums up at the end is about this call alone.
    losses = [entry["loss"] for entry in uninterrupted[1] if "loss" in entry]
    assert result.training_loss == pytest.approx(sum(losses[step:]) / (10 - step), abs=1e-6)


# An iteration has 3 updates and an epoch 6: 10 updates end inside of both, 9 between iterations, 12 between epochs.
@pytest.mark.parametrize("steps", [10, 9, 12])
def test_a_complete_training_is_not_trained_on(tmp_path, steps):
    whole = build(tmp_path, max_steps=steps, save_steps=steps)
    whole.train()
    again = build(tmp_path, max_steps=steps, save_steps=steps)
    result = again.train(resume_from_checkpoint=True)
    assert result.global_step == again.state.global_step == steps
    assert again.state.log_history == whole.state.log_history[:-1]  # the sum of the end comes after the checkpoint
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(again).items())
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{steps}"]


def test_training_twice_begins_twice(tmp_path):
    trainer = build(tmp_path, max_steps=2, save_strategy="no", eval_strategy="no")
    iterations = []

    class Listener(TrainerCallback):
        def on_rollouts(self, trainer, rollouts):
            iterations.append(rollouts[0]["iteration"])

    trainer.add_callback(Listener())
    trainer.train()
    trainer.train()
    assert set(iterations) == {0}
    assert trainer.state.global_step == 2


def test_stock_grpo_with_a_sampler_resumes_too(tmp_path):
    from trl import GRPOConfig

    def build_stock(folder):
        arguments = tiny.arguments(folder, save_strategy="steps", save_steps=3)
        del arguments["updates_per_iteration"]
        return SampledGRPOTrainer(
            tiny.model(),
            [tiny.odd_start],
            GRPOConfig(steps_per_generation=2, gradient_accumulation_steps=1, **arguments),
            train_dataset=tiny.problems(),
            processing_class=tiny.tiny_tokenizer(),
        )

    whole = build_stock(tmp_path / "whole")
    whole.train()
    again = build_stock(tmp_path / "again")
    again.train(resume_from_checkpoint=tmp_path / "whole" / "checkpoint-3")
    assert figures(again) == figures(whole)


def test_truncated_and_foreign_checkpoints_are_refused(uninterrupted, tmp_path):
    folder, _ = uninterrupted
    good = folder / "checkpoint-5"
    check_checkpoint(good)
    assert latest_checkpoint(folder) == folder / "checkpoint-10"

    def damaged(name):
        copy = tmp_path / name
        shutil.copytree(good, copy)
        return copy

    cut = damaged("checkpoint-7")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"is truncated: model.safetensors is \d+ bytes long instead of \d+; take an"):
        build(tmp_path).train(resume_from_checkpoint=str(cut))
    (damaged("checkpoint-8") / "optimizer.pt").unlink()
    with pytest.raises(ValueError, match=r"is truncated: optimizer.pt is missing"):
        check_checkpoint(tmp_path / "checkpoint-8")
    (damaged("checkpoint-9") / MANIFEST).unlink()
    with pytest.raises(ValueError, match="was not written by k15_plugins, or the run was killed while it saved"):
        check_checkpoint(tmp_path / "checkpoint-9")
    with pytest.raises(ValueError, match="does not exist"):
        check_checkpoint(tmp_path / "checkpoint-99")
    assert latest_checkpoint(tmp_path) is None
    shutil.copytree(good, tmp_path / "checkpoint-2")
    (tmp_path / "checkpoint-best").mkdir()  # somebody's own
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


def test_a_checkpoint_of_another_layout_is_refused(uninterrupted, tmp_path):
    folder, _ = uninterrupted
    other = build(tmp_path, num_generations=2)
    with pytest.raises(ValueError, match="was made with num_generations=4 but the training has num_generations=2"):
        other.train(resume_from_checkpoint=str(folder / "checkpoint-5"))


def test_a_checkpoint_that_is_written_again_is_half_until_it_is_complete(uninterrupted, tmp_path):
    copy = tmp_path / "checkpoint-5"
    shutil.copytree(uninterrupted[0] / "checkpoint-5", copy)
    begin_checkpoint(copy)
    assert is_half(copy)
    assert latest_checkpoint(tmp_path) is None


def test_the_older_checkpoint_stays_until_the_new_one_is_complete(tmp_path, monkeypatch):
    trainer = build(tmp_path, max_steps=2, save_total_limit=1, eval_strategy="no")

    def kill(*_):
        raise KeyboardInterrupt

    trainer.train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
    monkeypatch.setattr("k15_plugins.trainers.resumable.write_manifest", kill)
    again = build(tmp_path, max_steps=4, save_total_limit=1, eval_strategy="no")
    with pytest.raises(KeyboardInterrupt):
        again.train(resume_from_checkpoint=True)
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


def test_no_checkpoint_to_resume_from_is_said(tmp_path):
    with pytest.raises(ValueError, match="holds no complete checkpoint to resume from"):
        build(tmp_path).train(resume_from_checkpoint=True)
