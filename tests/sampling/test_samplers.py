"""What every sampler promises to the trainer, whatever it prefers."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k15_plugins.sampling import (
    CurriculumSampler,
    EasyToHard,
    PrioritizedSampler,
    ProblemSampler,
    UniformSampler,
    UniformThenHard,
)

KINDS = {
    "uniform": lambda n, seed=0: UniformSampler(n, seed=seed),
    "walk": lambda n, seed=0: CurriculumSampler(np.arange(n) % 3, EasyToHard(iterations=4), seed=seed),
    "switch": lambda n, seed=0: CurriculumSampler(np.arange(n) % 3, UniformThenHard(0, 2), seed=seed),
    "prioritized": lambda n, seed=0: PrioritizedSampler(n, unsolved_after=4, seed=seed),
    "both": lambda n, seed=0: PrioritizedSampler(
        n, unsolved_after=4, levels=np.arange(n) % 3, schedule=UniformThenHard(min(n - 1, 2), 3), seed=seed
    ),
}
kinds = st.sampled_from(sorted(KINDS))
sizes = st.integers(1, 40)
# (problems, refill): the trainer's calls. The first is never a refill.
calls = st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=8)


def drawable(sampler: ProblemSampler) -> int:
    """Problems that the sampler may draw in its current iteration."""
    if isinstance(sampler, UniformSampler) or sampler.schedule is None:
        return sampler.num_problems
    present = np.unique(sampler.levels)
    open_levels = present[sampler.schedule.weights(sampler.iteration, present) > 0]
    return int(np.isin(sampler.levels, open_levels).sum())


def play(sampler: ProblemSampler, script) -> list[np.ndarray]:
    """Draw by the script; answers are right as a fixed rule says, a third of the problems never."""
    draws = []
    for n, refill in script:
        ids = sampler.draw(n, refill=refill and sampler.iteration >= 0)
        sampler.observe(ids, np.minimum(ids % 3, 2) * 2, np.full(n, 4))
        draws.append(ids)
    return draws


@settings(max_examples=100, deadline=None)
@given(kind=kinds, size=sizes, script=calls)
def test_nothing_comes_twice_in_an_iteration_while_others_wait(kind, size, script):
    sampler = KINDS[kind](size)
    iteration, in_iteration = -1, np.empty(0, np.int64)
    for n, refill in script:
        ids = play(sampler, [(n, refill)])[0]
        assert ids.shape == (n,)
        assert ids.dtype == np.int64
        assert ((ids >= 0) & (ids < size)).all()
        in_iteration = np.concatenate([in_iteration, ids]) if sampler.iteration == iteration else ids
        assert sampler.iteration == iteration + (not refill or iteration < 0)
        iteration = sampler.iteration
        for start in range(0, len(in_iteration), drawable(sampler)):
            once = in_iteration[start : start + drawable(sampler)]
            assert len(np.unique(once)) == len(once)


@settings(max_examples=60, deadline=None)
@given(kind=kinds, size=sizes, script=calls, cut=st.integers(0, 8))
def test_a_loaded_state_continues_the_exact_sequence(kind, size, script, cut):
    whole, before, after = KINDS[kind](size), KINDS[kind](size), KINDS[kind](size)
    script = [(n, refill and i > 0) for i, (n, refill) in enumerate(script)]
    expected = play(whole, script)
    play(before, script[:cut])
    state = pickle.dumps(before.state_dict())
    after.load_state_dict(pickle.loads(state))
    resumed = play(after, script[cut:])
    for ids, others in zip(resumed, expected[cut:], strict=True):
        np.testing.assert_array_equal(ids, others)
    assert after.iteration == whole.iteration
    assert after.metrics() == whole.metrics()
    np.testing.assert_array_equal(after.success_rates.mean(), whole.success_rates.mean())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_not_touched_by_what_follows(kind):
    sampler = KINDS[kind](20)
    play(sampler, [(7, False), (7, False), (7, False)])
    state = sampler.state_dict()
    kept = pickle.dumps(state)
    play(sampler, [(7, True), (9, False)])
    assert pickle.dumps(state) == kept


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_draw_the_same_and_seeds_differ(kind):
    script = [(5, False), (5, True), (5, False)]
    first, second, other = (np.concatenate(play(KINDS[kind](200, seed), script)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_sees_the_observations_before_it_only_where_it_should(kind):
    right, wrong = KINDS[kind](60), KINDS[kind](60)
    for sampler, share in ((right, 4), (wrong, 0)):
        sampler.draw(5)
        sampler.observe(np.arange(0, 60, 2), np.full(30, share), np.full(30, 4))
    differ = (right.draw(20) != wrong.draw(20)).any()
    assert differ == (kind in ("prioritized", "both"))


@pytest.mark.parametrize("kind", KINDS)
def test_at_most_sixteen_bytes_a_problem(kind):
    sampler = KINDS[kind](30_000)
    for _ in range(6):
        sampler.draw(10)
        assert sampler.nbytes <= 16 * 30_000


@pytest.mark.parametrize("kind", KINDS)
def test_the_four_verbs_refuse_what_makes_no_sense(kind):
    sampler = KINDS[kind](5)
    with pytest.raises(ValueError, match="refill must be False before the first draw, got True"):
        sampler.draw(1, refill=True)
    with pytest.raises(ValueError, match="n must be 0 or more, got -1"):
        sampler.draw(-1)
    with pytest.raises(ValueError, match=r"n must be a whole number, got 2.0"):
        sampler.draw(2.0)
    sampler.draw(2)
    for ids, right, rollouts, message in (
        ([0, 5], [1, 1], [2, 2], "ids must be from 0 to 4, got 5"),
        ([0, 1], [1], [2, 2], "must be of one length"),
        ([0, 1], [1, 3], [2, 2], "right must be from 0 to rollouts=2, got 3"),
        ([0.5, 1.5], [1, 1], [2, 2], "ids must be whole numbers, got float64; pass those"),
        ([0], [float("nan")], [2], "right must be from 0 to rollouts=2, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            sampler.observe(ids, right, rollouts)
    sampler.observe([], [], [])
    with pytest.raises(ValueError, match="seed must be a whole number from 0, got -1"):
        KINDS[kind](5, -1)
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0, got 0.5"):
        KINDS[kind](5, 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_of_nothing_begins_the_next_iteration(kind):
    sampler = KINDS[kind](20)
    sampler.draw(3)
    assert len(sampler.draw(0)) == 0
    assert sampler.iteration == 1
    assert len(sampler.draw(3)) == 3
    assert sampler.iteration == 2


def test_known_pass_rates_can_be_given_before_the_first_draw():
    sampler = PrioritizedSampler(2, floor=0.0)
    sampler.observe(np.array([0, 1]), np.array([10, 0]), np.array([10, 10]))
    drawn = np.array([sampler.draw(1)[0] for _ in range(200)])
    assert (drawn == 1).mean() > 0.9


def other_levels():
    return np.array([0, 1, 2, 0, 1, 1])


@pytest.mark.parametrize(
    ("name", "mine", "other"),
    [
        ("sampler", UniformSampler(6), PrioritizedSampler(6)),
        ("num_problems", UniformSampler(6), UniformSampler(7)),
        ("seed", UniformSampler(6), UniformSampler(6, seed=1)),
        ("levels", KINDS["walk"](6), CurriculumSampler(other_levels(), EasyToHard(iterations=4))),
        ("schedule", KINDS["walk"](6), KINDS["switch"](6)),
        ("levels", KINDS["prioritized"](6), KINDS["both"](6)),
        ("floor", PrioritizedSampler(6), PrioritizedSampler(6, floor=0.1)),
        ("cap", PrioritizedSampler(6), PrioritizedSampler(6, cap=0.5)),
        ("unsolved_after", PrioritizedSampler(6), PrioritizedSampler(6, unsolved_after=8)),
        ("decay", PrioritizedSampler(6), PrioritizedSampler(6, decay=1.0)),
    ],
)
def test_a_state_of_another_sampler_is_refused(name, mine, other):
    with pytest.raises(
        ValueError, match=rf"{name} must be that of the saved state, .*; build this object with the saved run's"
    ):
        mine.load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"floor": -0.1}, "floor must be a share from 0 to 1, got -0.1"),
        ({"prior_right": float("nan")}, "prior_right=nan"),
        ({"prior_wrong": float("inf")}, "prior_wrong=inf"),
        ({"decay": float("nan")}, "decay must be above 0 and at most 1, got nan"),
        ({"cap": 1.5}, "cap must be a share from 0 to 1, got 1.5"),
        ({"floor": "a"}, "floor must be a number, got 'a'"),
        ({"prior_right": "a"}, "prior_right must be a number, got 'a'"),
        ({"levels": [0] * 6, "schedule": 5}, "schedule must be an object of k15_plugins.sampling, got 5"),
        (
            {"levels": [0] * 6, "schedule": EasyToHard},
            "schedule must be an object of k15_plugins.sampling, got <class",
        ),
        ({"unsolved_after": 0}, "unsolved_after must be .*, got 0"),
        ({"unsolved_after": 70_000}, "unsolved_after must be .*, got 70000"),
        ({"levels": [0] * 6}, "schedule must be given where its partner is, got None"),
        ({"schedule": EasyToHard(2)}, "levels must be given where its partner is, got None"),
        ({"levels": [0] * 5, "schedule": EasyToHard(2)}, "levels must have num_problems=6 entries, got 5"),
        ({"levels": [0] * 5 + [256], "schedule": EasyToHard(2)}, "levels must be from 0 to 255, got 0 to 256"),
        ({"levels": [0.5] * 6, "schedule": EasyToHard(2)}, "levels must be whole numbers in one"),
    ],
)
def test_bad_settings_are_named(settings_, message):
    with pytest.raises(ValueError, match=message):
        PrioritizedSampler(6, **settings_)


def test_a_number_of_problems_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"num_problems must be a whole number, got 6.0; set len\(train_dataset\)"):
        UniformSampler(6.0)
    with pytest.raises(ValueError, match="iterations must be 1 or more, got nan"):
        EasyToHard(iterations=float("nan"))
