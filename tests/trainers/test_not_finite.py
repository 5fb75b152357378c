"""Rewards, losses and gradients that are not finite: none of them reaches the weights."""

import logging
import math
import re

import pytest
import tiny
import torch
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForSequenceClassification, TrainerCallback
from trl import GRPOConfig

from k15_plugins import SampledGRPOTrainer
from k15_plugins.trainers.stopped import TrainingStopped


def break_gradients(trainer, updates, value=math.nan):
    """Let a weight's gradient hold a value that is not finite, in some updates."""
    weight = next(each for each in trainer.model.parameters() if each.requires_grad)

    def hook(gradient):
        return gradient * value if trainer.state.global_step in updates else gradient

    weight.register_hook(hook)
    return weight


def watch_weights(trainer):
    """Note all weights and the optimizer's state after each update."""
    seen = []

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            moments = [
                value.clone()
                for each in trainer.optimizer.state.values()
                for value in each.values()
                if torch.is_tensor(value)
            ]
            seen.append(([each.detach().clone() for each in trainer.model.parameters()], moments))

    trainer.add_callback(Watch())
    return seen


def is_equal(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


LORA = {"peft_config": LoraConfig(r=4, target_modules="all-linear")}


@pytest.mark.parametrize("options", [{}, {"max_grad_norm": 0.0}, {"gradient_accumulation_steps": 2}, LORA])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_update_that_is_not_finite_is_skipped(tmp_path, options, value):
    trainer = tiny.trainer(tmp_path, max_steps=4, reset_optimizer=False, **options)
    break_gradients(trainer, {1, 3}, value)
    seen = watch_weights(trainer)
    trainer.train()
    (first, second, third, fourth) = seen
    assert is_equal(first[0], second[0])
    assert is_equal(first[1], second[1])
    assert not is_equal(second[0], third[0])
    assert is_equal(third[0], fourth[0])
    assert all(each.isfinite().all() for each in fourth[0])
    assert tiny.logs(trainer, "k15/skipped_updates") == [0, 1, 0, 1]


def test_the_stock_loss_is_guarded_too(tmp_path):
    arguments = tiny.arguments(tmp_path, max_steps=2)
    del arguments["updates_per_iteration"]
    trainer = SampledGRPOTrainer(
        tiny.model(),
        [tiny.odd_start],
        GRPOConfig(steps_per_generation=2, gradient_accumulation_steps=1, **arguments),
        train_dataset=tiny.problems(),
        processing_class=tiny.tiny_tokenizer(),
    )
    break_gradients(trainer, {1})
    seen = watch_weights(trainer)
    trainer.train()
    assert is_equal(seen[0][0], seen[1][0])


def test_three_in_a_row_end_the_training_with_a_checkpoint_of_the_weights_before(tmp_path):
    trainer = tiny.trainer(tmp_path, max_steps=8)
    break_gradients(trainer, {2, 3, 4, 5, 6})
    seen = watch_weights(trainer)
    with pytest.raises(TrainingStopped, match=r"3 updates in a row were not finite .* lower learning_rate"):
        trainer.train()
    assert len(seen) == 5
    assert is_equal(seen[1][0], seen[4][0])
    resumed = tiny.trainer(tmp_path, max_steps=8)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 8


def test_the_count_in_a_row_is_in_the_checkpoint(tmp_path):
    trainer = tiny.trainer(tmp_path, max_steps=4, save_strategy="steps", save_steps=4)
    break_gradients(trainer, {2, 3})
    trainer.train()
    resumed = tiny.trainer(tmp_path, max_steps=8)
    break_gradients(resumed, {4})
    with pytest.raises(TrainingStopped):
        resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 5


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_row_whose_reward_is_not_finite_has_no_verdict_and_the_run_goes_on(tmp_path, caplog, value):
    calls = []

    def sometimes(completion_ids, **_):
        calls.append(len(completion_ids))
        rewards = tiny.odd_start(completion_ids)
        return [value, *rewards[1:]] if len(calls) == 1 else rewards

    told = []

    class Listener(TrainerCallback):
        def on_rollouts(self, trainer, rollouts):
            told.append(rollouts)

    trainer = tiny.trainer(
        tmp_path, reward_funcs=[tiny.odd_start, sometimes], callbacks=[Listener()], max_steps=4, logging_steps=2
    )
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert re.search(
        rf"the reward function sometimes gave {value} for problem \d+, '.* and the response '", caplog.text
    )
    assert len(tiny.logs(trainer, "k15/accuracy")) == 2
    assert tiny.logs(trainer, "k15/non_finite_rewards") == [1, 0]
    assert trainer.reward_funcs == [tiny.odd_start, sometimes]
    first, *others = told[0]
    assert all(math.isnan(each) for each in first["rewards"].values())
    assert first["advantage"] == 0
    assert all(math.isfinite(each["advantage"]) for each in others)
    # The others of the group are compared among themselves.
    group = [each["reward"] for each in others[:3]]
    assert others[0]["advantage"] == pytest.approx(group[0] - sum(group) / 3)
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())


def one_row(value, row=0):
    """A reward function that gives one row of each call a value and judges the others."""

    def broken(completion_ids, **_):
        rewards = tiny.odd_start(completion_ids)
        return [*rewards[:row], value, *rewards[row + 1 :]]

    return broken


async def async_infinite(completion_ids, **_):
    return one_row(math.inf)(completion_ids)


@pytest.mark.parametrize("function", [one_row(1e39), one_row(torch.tensor(math.inf)), async_infinite])
def test_what_becomes_infinite_in_trls_type_and_async_functions_are_watched(tmp_path, caplog, function):
    trainer = tiny.trainer(tmp_path, reward_funcs=[tiny.odd_start, function], max_steps=2)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert tiny.logs(trainer, "k15/non_finite_rewards") == [1]
    assert "no verdict" in caplog.text


class BrokenModel(LlamaForSequenceClassification):
    value = math.inf

    def forward(self, **inputs):
        output = super().forward(**inputs)
        output.logits[0] = self.value
        return output


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_rewards_of_a_model_are_watched(tmp_path, caplog, value):
    tokenizer = tiny.tiny_tokenizer()
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    reward_model = BrokenModel(
        LlamaConfig(vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id, **size)
    )
    reward_model.config._name_or_path = "somewhere/judge"
    reward_model.value = value
    trainer = tiny.trainer(
        tmp_path, reward_funcs=[tiny.odd_start, reward_model], reward_processing_classes=[None, tokenizer], max_steps=2
    )
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert f"the reward function judge gave {value} for problem" in caplog.text
    assert tiny.logs(trainer, "k15/non_finite_rewards") == [1]
    assert trainer.sampler.metrics()["share_seen"] == pytest.approx(4 / 12)
    assert trainer.sampler.success_rates.seen.sum() == 15


def test_a_run_is_not_flooded_with_warnings(tmp_path, caplog):
    trainer = tiny.trainer(tmp_path, reward_funcs=[one_row(math.inf)], max_steps=12, updates_per_iteration=1)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    told = [record.getMessage() for record in caplog.records if "no verdict" in record.getMessage()]
    assert len(told) == 10
    assert "from here on only k15/non_finite_rewards tells of more" in told[-1]
    assert tiny.logs(trainer, "k15/non_finite_rewards") == [1] * 12


def test_rollouts_without_a_verdict_are_not_in_the_accuracy(tmp_path):
    def half(completion_ids, **_):
        # The first group has no verdict at all, the others two each.
        return [None if row < 4 or row % 4 < 2 else 1.0 for row in range(len(completion_ids))]

    trainer = tiny.trainer(tmp_path, reward_funcs=[half], max_steps=2)
    trainer.train()
    assert tiny.logs(trainer, "k15/accuracy") == [1.0]
    assert tiny.logs(trainer, "k15/groups_all_right") == [1.0]
    assert tiny.logs(trainer, "k15/group_accuracy_std") == [0.0]
