"""The dual reward against its table and its properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k15_plugins.shaping import dual_lambda, dual_reward, right_above_wrong

NAN = math.nan


def mixed(final, process, low=0.3, high=0.7):
    """Mix the rewards of one group."""
    final, process = torch.tensor(final), torch.tensor(process)
    lambda_N = dual_lambda(final >= 0.5, ~final.isnan(), len(final), low, high)
    return dual_reward(final, process, lambda_N)


@pytest.mark.parametrize(
    ("final", "process", "expected"),
    [
        # All wrong: lambda 0.3, and the steps tell the rollouts apart.
        ([0.0, 0.0], [0.5, 1.0], [0.35, 0.7]),
        # Half of them right: lambda 0.5.
        ([1.0, 0.0], [1.0, 0.5], [1.0, 0.25]),
        # All right: lambda 0.7; the group still has something to learn from its steps.
        ([1.0, 1.0], [1.0, 0.0], [1.0, 0.7]),
        # No process score: the final reward alone.
        ([1.0, 0.0], [NAN, NAN], [1.0, 0.0]),
        # No verdict: no reward, and no part in the share of right answers, which is 1 of 1 here.
        ([NAN, 1.0], [1.0, 0.5], [NAN, 0.85]),
        ([NAN, NAN], [1.0, NAN], [NAN, NAN]),
        # Between the two.
        ([0.8, 0.2], [0.5, 0.5], [0.65, 0.35]),
    ],
)
def test_table(final, process, expected):
    assert mixed(final, process).tolist() == pytest.approx(expected, nan_ok=True)


def test_lambda_rises_with_the_share_of_right_answers_and_groups_do_not_mix():
    right = torch.tensor([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]).bool()
    judged = torch.ones(12).bool()
    assert dual_lambda(right, judged, 4).tolist() == pytest.approx([0.7] * 4 + [0.4] * 4 + [0.3] * 4)
    assert dual_lambda(right, judged, 4, 0.5, 0.5).tolist() == [0.5] * 12


group = st.integers(1, 9).flatmap(
    lambda k: st.tuples(
        *(st.lists(st.one_of(st.floats(0, 1, width=32), st.just(NAN)), min_size=k, max_size=k) for _ in range(2))
    )
)
bounds = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@settings(max_examples=200, deadline=None)
@given(group, bounds)
def test_it_lies_between_its_parts_and_is_nan_only_without_a_verdict(group, bounds):
    final, process = torch.tensor(group[0]), torch.tensor(group[1])
    reward = mixed(*group, *bounds)
    assert (reward.isnan() == final.isnan()).all()
    both = ~final.isnan() & ~process.isnan()
    assert (reward[both] >= torch.minimum(final, process)[both] - 1e-6).all()
    assert (reward[both] <= torch.maximum(final, process)[both] + 1e-6).all()
    alone = ~final.isnan() & process.isnan()
    assert torch.equal(reward[alone], final[alone])


@settings(max_examples=100, deadline=None)
@given(group, bounds)
def test_more_of_either_part_is_never_less(group, bounds):
    final, process = torch.tensor(group[0]), torch.tensor(group[1])
    judged = ~final.isnan()
    lambda_N = dual_lambda(final >= 0.5, judged, len(final), *bounds)
    assert lambda_N.min() >= torch.tensor(bounds[0])
    assert lambda_N.max() <= torch.tensor(bounds[1])
    assert (lambda_N == lambda_N[0]).all()
    reward = dual_reward(final, process, lambda_N)
    for more in (
        dual_reward(final.clamp(min=0.9), process, lambda_N),
        dual_reward(final, process.clamp(min=0.9), lambda_N),
    ):
        assert (more[judged] >= reward[judged] - 1e-6).all()


@settings(max_examples=100, deadline=None)
@given(group, bounds)
def test_ordered_no_wrong_answer_is_above_a_right_one(group, bounds):
    right = torch.tensor(group[0]) >= 0.5
    reward = mixed(*group, *bounds)
    ordered = right_above_wrong(reward, right)
    assert not (ordered[right] < 0.5).any()
    assert not (ordered[~right] > 0.5).any()
    assert (ordered.isnan() == reward.isnan()).all()
    kept = torch.where(right, reward >= 0.5, reward <= 0.5)
    assert torch.equal(ordered[kept], reward[kept])


def test_what_ordered_is_for():
    final, process = [1.0, 0.0], [0.0, 1.0]
    assert mixed(final, process, 0.3, 0.3).tolist() == pytest.approx([0.3, 0.7])
    assert right_above_wrong(mixed(final, process, 0.3, 0.3), torch.tensor([True, False])).tolist() == [0.5, 0.5]


ONES = torch.ones(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dual_lambda(ONES.bool(), ONES.bool(), 3), "whole groups of num_generations=3 rollouts, got 4"),
        (
            lambda: dual_lambda(ONES.bool(), ONES[:2].bool(), 2),
            r"scorable_N must have the shape .*, \(4,\), got \(2,\)",
        ),
        (lambda: dual_lambda(ONES.bool(), ONES.bool(), 2, 0.7, 0.3), "0 <= low <= high <= 1, got 0.7 and 0.3; take"),
        (lambda: dual_lambda(ONES.bool(), ONES.bool(), 2, -0.1, 0.3), "0 <= low <= high <= 1, got -0.1 and 0.3"),
        (lambda: dual_lambda(ONES.bool(), ONES.bool(), 2, 0.3, 1.1), "0 <= low <= high <= 1, got 0.3 and 1.1"),
        (lambda: dual_lambda(ONES.bool(), ONES.bool(), 2, NAN, 1), "0 <= low <= high <= 1, got nan and 1"),
        (lambda: dual_reward(ONES, ONES[:2], ONES), r"process_N must have the shape of final_N, \(4,\), got \(2,\)"),
        (lambda: dual_reward(ONES, 2 * ONES, ONES), "process_N must be from 0 to 1, got 2; scale it"),
        (lambda: dual_reward(-ONES, ONES, ONES), "final_N must be from 0 to 1, got -1; scale it"),
        (lambda: dual_reward(ONES, ONES, 1.5 * ONES), "lambda_N must be from 0 to 1, got 1.5; scale it"),
        (lambda: right_above_wrong(ONES, ONES[:1].bool()), r"correct_N must have the shape .* got \(1,\)"),
    ],
)
def test_what_cannot_be_mixed_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
