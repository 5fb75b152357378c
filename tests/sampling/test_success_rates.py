import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k15_plugins.sampling import SuccessRates

groups = st.integers(0, 16).flatmap(lambda rollouts: st.tuples(st.integers(0, rollouts), st.just(rollouts)))


def observe(rates, rows, iteration):
    ids, right, rollouts = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    rates.observe(ids, right, rollouts, iteration)


@settings(max_examples=50, deadline=None)
@given(visits=st.lists(groups.filter(lambda group: group[1] > 0), max_size=12), decay=st.floats(0.05, 1.0))
def test_mean_is_the_closed_form_of_a_fading_beta_posterior(visits, decay):
    rates = SuccessRates(3, prior_right=0.5, prior_wrong=1.5, decay=decay)
    for iteration, (right, rollouts) in enumerate(visits):
        observe(rates, [(1, right, rollouts)], 10 * iteration)
    weight = [decay ** (len(visits) - 1 - i) for i in range(len(visits))]
    right = sum(w * r for w, (r, _) in zip(weight, visits, strict=True))
    rollouts = sum(w * n for w, (_, n) in zip(weight, visits, strict=True))
    np.testing.assert_allclose(rates.mean(np.array([1]))[0], (right + 0.5) / (rollouts + 2.0), rtol=1e-5)
    np.testing.assert_array_equal(rates.mean(np.array([0, 2])), [0.25, 0.25])


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 4), groups).map(lambda row: (row[0], *row[1])), max_size=12),
    cut=st.integers(0, 12),
)
def test_repeated_ids_and_several_calls_of_one_iteration_add_up(rows, cut):
    at_once, in_two, merged = SuccessRates(5), SuccessRates(5), SuccessRates(5)
    for rates in (at_once, in_two, merged):
        observe(rates, [(i, 3, 4) for i in range(5)], 0)
    observe(at_once, rows, 1)
    observe(in_two, rows[:cut], 1)
    observe(in_two, rows[cut:], 1)
    observe(merged, [(i, *(sum(row[c] for row in rows if row[0] == i) for c in (1, 2))) for i in range(5)], 1)
    for rates in (in_two, merged):
        for name in ("right", "rollouts", "last_seen", "seen"):
            np.testing.assert_allclose(getattr(rates, name), getattr(at_once, name), rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 4), groups).map(lambda row: (row[0], *row[1]))), max_size=6))
def test_metrics_match_a_count_over_all_problems(iterations):
    rates = SuccessRates(5)
    for iteration, rows in enumerate(iterations):
        observe(rates, rows, iteration)
    seen = rates.seen > 0
    figures = rates.metrics()
    assert figures["share_seen"] == seen.mean()
    if seen.any():
        np.testing.assert_allclose(figures["success_rate"], rates.mean()[seen].mean(), rtol=1e-9)
        np.testing.assert_allclose(figures["share_solved"], (rates.right[seen] > 0).mean(), rtol=1e-9)
    else:
        assert figures["success_rate"] == figures["share_solved"] == 0


def test_rows_without_rollouts_leave_a_problem_unseen():
    rates = SuccessRates(2)
    observe(rates, [(0, 0, 0), (1, 2, 4)], 7)
    np.testing.assert_array_equal(rates.last_seen, [-1, 7])
    np.testing.assert_array_equal(rates.seen, [0, 4])


def test_seen_stops_at_the_largest_count_instead_of_wrapping():
    rates = SuccessRates(1)
    observe(rates, [(0, 0, 60_000)], 0)
    observe(rates, [(0, 0, 60_000)], 1)
    assert rates.seen[0] == 65_535
    assert rates.never_right(np.array([0]), 32)[0]


def test_never_right_needs_enough_rollouts_and_none_right():
    rates = SuccessRates(3)
    observe(rates, [(0, 0, 8), (1, 0, 7), (2, 1, 800)], 0)
    np.testing.assert_array_equal(rates.never_right(np.arange(3), 8), [True, False, False])


def test_fourteen_bytes_a_problem():
    assert SuccessRates(1000).nbytes == 14_000


def test_state_is_a_copy_and_continues_exactly():
    first, second = SuccessRates(4, decay=0.7), SuccessRates(4, decay=0.7)
    observe(first, [(0, 1, 3), (2, 5, 7)], 0)
    state = pickle.loads(pickle.dumps(first.state_dict()))
    kept = first.state_dict()
    second.load_state_dict(state)
    for rates in (first, second):
        observe(rates, [(0, 2, 3), (3, 0, 1)], 1)
    np.testing.assert_array_equal(first.mean(), second.mean())
    assert first.metrics() == second.metrics()
    np.testing.assert_array_equal(kept["right"], state["right"])


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("num_problems", SuccessRates(5)),
        ("decay", SuccessRates(4, decay=0.5)),
        ("prior_right", SuccessRates(4, prior_right=1.0)),
        ("prior_wrong", SuccessRates(4, prior_wrong=1.0)),
    ],
)
def test_state_of_other_settings_is_refused(name, other):
    with pytest.raises(ValueError, match=f"{name} must be that of the saved state"):
        SuccessRates(4).load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("settings_", "field"),
    [
        ({"num_problems": 0}, "num_problems must be 1 or more, got 0"),
        ({"prior_right": 0.0}, "prior_right=0.0"),
        ({"prior_wrong": -1.0}, "prior_wrong=-1.0"),
        ({"decay": 0.0}, "decay must be above 0 .*, got 0.0"),
        ({"decay": 1.1}, "decay must be above 0 .*, got 1.1"),
    ],
)
def test_bad_settings_are_named(settings_, field):
    with pytest.raises(ValueError, match=field):
        SuccessRates(**{"num_problems": 3, **settings_})


@pytest.mark.parametrize(
    ("ids", "right", "rollouts", "message"),
    [
        ([3], [1], [2], "ids must be from 0 to 2, got 3"),
        ([-1], [1], [2], "ids must be from 0 to 2, got -1"),
        ([0], [3], [2], "right must be from 0 to rollouts=2, got 3"),
        ([0], [-1], [2], "right must be from 0 to rollouts=2, got -1"),
        ([0, 1], [1], [2], "must be of one length"),
        ([0], [np.nan], [2], "right must be from 0 to rollouts=2, got nan"),
    ],
)
def test_bad_observations_are_named_and_change_nothing(ids, right, rollouts, message):
    rates = SuccessRates(3)
    with pytest.raises(ValueError, match=message):
        rates.observe(np.array(ids), np.array(right), np.array(rollouts), 0)
    assert not rates.rollouts.any()
