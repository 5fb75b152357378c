"""The dual reward in a trainer: after the gather, both parts logged, and what cannot be mixed."""

import logging
import math

import pytest
import tiny
import torch
from transformers import TrainerCallback

from k15_plugins import MirrorDescentConfig
from k15_plugins.shaping import dual_lambda, dual_reward, length_reward, right_above_wrong
from k15_plugins.trainers.dual_reward import ProcessWatch


class Rollouts(TrainerCallback):
    """Keep the rollouts of each iteration."""

    def __init__(self):
        self.rollouts = []

    def on_rollouts(self, trainer, rollouts):
        self.rollouts.append(rollouts)


def steps(completion_ids, **_):
    """Score by the second token."""
    return [ids[min(1, len(ids) - 1)] % 5 / 4 for ids in completion_ids]


def trained(folder, functions=(tiny.odd_start, steps), **changes):
    spy = Rollouts()
    options = {"process_reward": "steps", "max_steps": 2} | changes
    trainer = tiny.trainer(folder, reward_funcs=list(functions), callbacks=[spy], **options)
    trainer.train()
    return trainer, spy.rollouts


def column(rollouts, name):
    return torch.tensor([each["rewards"][name] for each in rollouts])


@pytest.mark.parametrize("ordered", [False, True])
def test_the_dual_reward_takes_the_final_rewards_place_and_both_parts_are_logged(tmp_path, ordered):
    changes = {"reward_weights": [2.0, 0.0], "dual_lambda_low": 0.2, "dual_lambda_high": 0.6, "dual_ordered": ordered}
    trainer, [rollouts] = trained(tmp_path, **changes)
    final, process = column(rollouts, "odd_start"), column(rollouts, "steps")
    lambda_N = dual_lambda(final >= 0.5, torch.ones(16).bool(), 4, 0.2, 0.6)
    expected = dual_reward(final, process, lambda_N)
    if ordered:
        expected = right_above_wrong(expected, final >= 0.5)
    torch.testing.assert_close(column(rollouts, "dual_reward"), expected)
    total = torch.tensor([each["reward"] for each in rollouts])
    torch.testing.assert_close(total, 2 * expected)
    advantages = torch.tensor([each["advantage"] for each in rollouts])
    torch.testing.assert_close(advantages, total - total.view(-1, 4).mean(1).repeat_interleave(4))

    assert len(set(lambda_N.tolist())) > 1
    assert tiny.logs(trainer, "k15/lambda") == pytest.approx([lambda_N.mean().item()])
    assert tiny.logs(trainer, "k15/accuracy") == pytest.approx([final.mean().item()])
    assert tiny.logs(trainer, "k15/process_score") == pytest.approx([process.mean().item()])
    assert tiny.logs(trainer, "k15/process_score_of_wrong") == pytest.approx([process[final == 0].mean().item()])
    assert tiny.logs(trainer, "rewards/steps/mean") == pytest.approx([process.mean().item()])
    assert tiny.logs(trainer, "k15/process_missing") == [0]


def test_success_rates_and_the_length_reward_see_the_final_reward_only(tmp_path):
    def all_sound(completion_ids, **_):
        return [1.0] * len(completion_ids)

    changes = {"length_penalty_weight": 1.0, "max_completion_length": 64}
    trainer, [rollouts] = trained(tmp_path, [tiny.odd_start, all_sound], process_reward="all_sound", **changes)
    right = column(rollouts, "odd_start") == 1
    tokens = torch.tensor([each["tokens"] for each in rollouts])
    torch.testing.assert_close(column(rollouts, "length_reward"), length_reward(tokens, right, 4))
    assert right.tolist() == [each["right"] for each in rollouts]
    rates = trainer.sampler.success_rates
    assert rates.right.sum() == right.sum()
    assert 0 < right.sum() < 16


def test_without_a_process_score_the_final_reward_stands_alone_and_without_a_verdict_a_row_is_left_out(tmp_path):
    def half_judged(completion_ids, **_):
        return [None if row % 2 else 0.5 for row in range(len(completion_ids))]

    def half_verdicts(completion_ids, **_):
        return [None if row % 4 == 0 else float(ids[0] % 2) for row, ids in enumerate(completion_ids)]

    trainer, [rollouts] = trained(tmp_path, [half_verdicts, half_judged], process_reward="half_judged")
    for row, each in enumerate(rollouts):
        final, process, dual = (each["rewards"][name] for name in ("half_verdicts", "half_judged", "dual_reward"))
        if row % 4 == 0:
            assert all(math.isnan(value) for value in (final, process, dual))
            assert each["advantage"] == 0
        elif row % 2:
            assert math.isnan(process)
            assert dual == final
        else:
            assert dual != final
    # Of the 12 with a verdict, 8 have no process score.
    assert tiny.logs(trainer, "k15/process_missing") == pytest.approx([8 / 12])


@pytest.mark.parametrize("score", [math.nan, 1.5, -0.1, math.inf])
def test_a_process_score_outside_0_to_1_ends_the_training_with_its_prompt(tmp_path, score):
    def one_off(prompts, **_):
        return [score if row == 5 else 0.5 for row in range(len(prompts))]

    message = rf"the process reward one_off must give scores from 0 to 1, got {score} for problem \d+, '\d.* =.*', and"
    with pytest.raises(ValueError, match=message):
        trained(tmp_path, [tiny.odd_start, one_off], process_reward="one_off")


def test_a_final_reward_outside_0_to_1_is_refused(tmp_path):
    def signed(completion_ids, **_):
        return [2.0 * (ids[0] % 2) - 1 for ids in completion_ids]

    with pytest.raises(ValueError, match=r"the final reward signed must be from 0 to 1 .* got -1; scale it, or leave"):
        trained(tmp_path, [signed, steps])


def test_evaluation_has_it_too(tmp_path):
    evaluation = {"eval_dataset": tiny.problems(6), "num_generations_eval": 1, "per_device_eval_batch_size": 6}
    trainer = tiny.trainer(tmp_path, reward_funcs=[tiny.odd_start, steps], process_reward="steps", **evaluation)
    measured = trainer.evaluate()
    assert measured["eval_k15/process_score"] == pytest.approx(measured["eval_rewards/steps/mean"])
    assert 0 < measured["eval_rewards/dual_reward/mean"] < 1


@pytest.mark.parametrize(
    ("functions", "changes", "message"),
    [
        (
            [tiny.odd_start],
            {},
            r"process_reward must name one reward function, got 'steps', which names 0 .* are odd_start",
        ),
        (
            [tiny.odd_start, steps, steps],
            {},
            "process_reward must name one reward function, got 'steps', which names 2",
        ),
        (
            [steps],
            {},
            "must stand beside a final reward, got 'steps', which is the final reward itself; give",
        ),
        ([steps, tiny.odd_start], {}, r"must stand beside a final reward, .* and name it by final_reward"),
        ([tiny.odd_start, steps], {"final_reward": "steps"}, "must stand beside a final reward"),
        (
            [tiny.odd_start, steps],
            {"reward_weights": [1.0, 0.5]},
            "reward_weights must have 0 for process_reward='steps', .* got 0.5; set it to 0",
        ),
    ],
)
def test_what_does_not_go_with_a_process_reward_is_refused_before_a_model_is_loaded(
    tmp_path, functions, changes, message
):
    options = {"process_reward": "steps"} | changes
    with pytest.raises(ValueError, match=message):
        tiny.trainer(tmp_path, model=str(tmp_path / "no_model"), reward_funcs=functions, **options)


def test_the_final_reward_may_be_the_second(tmp_path):
    _, [rollouts] = trained(tmp_path, [steps, tiny.odd_start], final_reward="odd_start")
    assert [each["right"] for each in rollouts] == [bool(each["rewards"]["odd_start"]) for each in rollouts]
    assert [each["reward"] for each in rollouts] == pytest.approx(
        [each["rewards"]["dual_reward"] for each in rollouts]
    )


def test_no_reward_function_may_have_its_name(tmp_path):
    def own(completion_ids, **_):
        return [0.0] * len(completion_ids)

    own.__name__ = "dual_reward"
    with pytest.raises(
        ValueError, match=r"process_reward=steps adds a reward called dual_reward, .* leave process_re"
    ):
        tiny.trainer(tmp_path, reward_funcs=[tiny.odd_start, steps, own], process_reward="steps")


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.7, 0.3, "must be 0 <= dual_lambda_low <= dual_lambda_high <= 1, got 0.7 and 0.3; take"),
        (-0.1, 0.5, "dual_lambda_low must be from 0 to 1, got -0.1"),
        (0.3, 1.5, "dual_lambda_high must be from 0 to 1, got 1.5"),
    ],
)
def test_bounds_of_lambda_are_checked(tmp_path, low, high, message):
    bounds = {"dual_lambda_low": low, "dual_lambda_high": high}
    with pytest.raises(ValueError, match=message):
        MirrorDescentConfig(**tiny.arguments(tmp_path, process_reward="steps", **bounds))


def test_a_process_score_that_rises_while_the_final_reward_falls_is_told_once(caplog):
    def told(process, final):
        caplog.clear()
        watch = ProcessWatch(window=5, margin=0.05)
        with caplog.at_level(logging.WARNING):
            for values in zip(process, final, strict=True):
                watch.see(*values)
        return [record.message for record in caplog.records]

    rising, falling, level = (
        [start + slope * i for i in range(12)] for start, slope in ((0, 0.05), (0.9, -0.05), (0.5, 0))
    )
    [sentence] = told(rising, falling)
    assert sentence.startswith(
        "the process score rose from 0.10 to 0.35 in the last 10 iterations while the final reward fell from 0.80 to "
        "0.55"
    )
    assert not told(rising, rising)
    assert not told(rising, level)
    assert not told(level, falling)
    assert not told(falling, falling)
    assert not told(rising[:9], falling[:9])
    assert not told([0.5, 0.54] * 6, [0.5, 0.46] * 6)
