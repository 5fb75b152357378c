"""The in-group length reward against its table and its properties (paper 2.3.3)."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k15_plugins.shaping import GroupLengthReward, length_penalty_is_on, length_reward

TABLE = [
    # lengths, right, length rewards
    ([10, 20, 30, 50], [1, 1, 1, 1], [0.5, 0.25, 0.0, -0.5]),
    ([10, 20, 30, 50], [0, 0, 0, 0], [0.0, 0.0, 0.0, -0.5]),
    ([10, 20, 40, 50], [1, 0, 0, 1], [0.5, 0.0, -0.25, -0.5]),
    ([50, 10, 50, 10], [1, 0, 0, 1], [-0.5, 0.0, -0.5, 0.5]),
    ([7, 7, 7, 7], [1, 0, 1, 0], [0.0, 0.0, 0.0, 0.0]),
    ([1, 2, 1, 1], [1, 1, 0, 0], [0.5, -0.5, 0.0, 0.0]),
]


@pytest.mark.parametrize(("lengths", "right", "expected"), TABLE)
def test_table(lengths, right, expected):
    assert length_reward(torch.tensor(lengths), torch.tensor(right).bool(), 4).tolist() == pytest.approx(expected)


def test_groups_do_not_mix():
    lengths = torch.tensor([row for table in TABLE for row in table[0]])
    right = torch.tensor([row for table in TABLE for row in table[1]])
    expected = [row for table in TABLE for row in table[2]]
    assert length_reward(lengths, right, 4).tolist() == pytest.approx(expected)


group = st.integers(2, 9).flatmap(
    lambda k: st.tuples(
        st.lists(st.integers(1, 131072), min_size=k, max_size=k), st.lists(st.booleans(), min_size=k, max_size=k)
    )
)


@settings(max_examples=200, deadline=None)
@given(group)
def test_range_order_and_wrong_never_above_zero(group):
    lengths, right = torch.tensor(group[0]), torch.tensor(group[1])
    reward = length_reward(lengths, right, len(lengths))
    assert reward.min() >= -0.5
    assert reward.max() <= 0.5
    assert (reward[~right] <= 0).all()
    for mask in (right, ~right):
        by_length = reward[mask][lengths[mask].argsort()]
        assert (by_length.diff() <= 0).all()
    if lengths.min() < lengths.max():
        assert (reward[right & (lengths == lengths.min())] == 0.5).all()
        assert (reward[lengths == lengths.max()] == -0.5).all()
    else:
        assert (reward == 0).all()


@settings(max_examples=100, deadline=None)
@given(group, st.integers(0, 1000), st.integers(1, 50), st.randoms(use_true_random=False))
def test_translation_scale_and_order(group, shift, factor, random):
    lengths, right = torch.tensor(group[0]), torch.tensor(group[1])
    k = len(lengths)
    reward = length_reward(lengths, right, k)
    torch.testing.assert_close(length_reward(lengths * factor + shift, right, k), reward, atol=1e-5, rtol=0)
    order = torch.tensor(random.sample(range(k), k))
    torch.testing.assert_close(length_reward(lengths[order], right[order], k), reward[order])


def test_warm_up_is_a_switch():
    assert [length_penalty_is_on(i, 2) for i in range(4)] == [False, False, True, True]
    assert length_penalty_is_on(0, 0)


def verdicts(completions, **_):
    return [float(text == "right") for text in completions]


def call(reward, prompts, lengths, step=0):
    return reward(
        prompts=prompts,
        completions=["right"] * len(prompts),
        completion_ids=[[0] * length for length in lengths],
        trainer_state=SimpleNamespace(global_step=step),
    )


def test_reward_function_is_the_length_reward_of_each_group():
    reward = GroupLengthReward(verdicts, 2, warmup_steps=3)
    prompts, lengths = ["a", "a", "b", "b"], [10, 30, 5, 5]
    assert call(reward, prompts, lengths, step=2) == [0.0] * 4
    assert call(reward, prompts, lengths, step=3) == [0.5, -0.5, 0.0, 0.0]


@pytest.mark.parametrize("prompts", [["a", "a", "b"], ["a", "b", "b", "c"]])
def test_reward_function_refuses_groups_that_straddle_processes(prompts):
    with pytest.raises(ValueError, match="num_generations=2, for groups straddle processes; make per_device"):
        call(GroupLengthReward(verdicts, 2), prompts, [1] * len(prompts))


@pytest.mark.parametrize(
    ("lengths", "right", "k", "message"),
    [
        (torch.tensor([1, 2, 3]), torch.ones(3).bool(), 2, "whole groups of num_generations=2 rollouts, got 3"),
        (torch.tensor([1, 2]), torch.ones(2).bool(), 0, "whole groups of num_generations=0 rollouts, got 2"),
        (torch.tensor([[1, 2]]), torch.ones(1, 2).bool(), 2, r"must be of shape \(N,\), .* got \(1, 2\)"),
        (torch.tensor([1, 2]), torch.ones(1).bool(), 2, r"the shape of lengths_N, \(2,\), got \(1,\)"),
        (torch.tensor([1, 2]), torch.tensor([0.0, 0.3]), 2, "correct_N must be bool, got torch.float32"),
        (torch.tensor([-1, 2]), torch.ones(2).bool(), 2, "lengths_N must be 0 or more tokens, got -1"),
        (
            [1, 2],
            torch.ones(2).bool(),
            2,
            r"lengths_N must be a tensor of shape \(N,\), got a list; give torch.tensor",
        ),
        (torch.tensor([1, 2]), [True, False], 2, r"correct_N must be a tensor of shape \(N,\), got a list"),
        (torch.tensor([1, 2]), torch.ones(2).bool(), 2.0, "num_generations must be a whole number, got 2.0"),
        (torch.tensor([1, 2]), torch.ones(2).bool(), "2", "num_generations must be a whole number, got '2'"),
        (torch.tensor([torch.inf, 2]), torch.ones(2).bool(), 2, "lengths_N must be 0 or more tokens, got inf"),
        (torch.tensor([torch.nan, 2]), torch.ones(2).bool(), 2, "lengths_N must be 0 or more tokens, got nan"),
    ],
)
def test_what_is_no_groups_of_lengths_and_verdicts_is_refused(lengths, right, k, message):
    with pytest.raises(ValueError, match=message):
        length_reward(lengths, right, k)


async def later(completions, **_):
    return [0.0] * len(completions)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SimpleNamespace, 4), "final_reward must be a reward function, got <class"),
        ((3, 4), "final_reward must be a reward function, got 3"),
        ((later, 4), "this function is asynchronous; take MirrorDescentTrainer"),
        ((verdicts, 0), "num_generations must be 1 or more, got 0"),
        ((verdicts, 1.5), "num_generations must be a whole number, got 1.5"),
    ],
)
def test_what_cannot_tell_right_from_wrong_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GroupLengthReward(*arguments)


@pytest.mark.parametrize(
    ("threshold", "message"), [("x", "threshold must be a number"), (math.nan, "threshold must be a finite number")]
)
def test_a_threshold_is_a_finite_number(threshold, message):
    with pytest.raises(ValueError, match=message):
        GroupLengthReward(verdicts, 4, threshold=threshold)
