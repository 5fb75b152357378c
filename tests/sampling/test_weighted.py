"""The law of weighted draws without replacement, the cap, the floor and the curriculum."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from k15_plugins.sampling import CurriculumSampler, EasyToHard, PrioritizedSampler, UniformThenHard

DRAWS = 4000


def successive_law(weights, held, n, quota):
    """Probability of each ordered draw of n, one problem after the other, by enumeration."""
    law = {}
    for order in permutations(range(len(weights)), n):
        probability, left = 1.0, quota
        for place, i in enumerate(order):
            waiting = [j for j in range(len(weights)) if j not in order[:place]]
            free = [j for j in waiting if not held[j]]
            allowed = waiting if left > 0 or not free else free
            probability *= weights[i] * (i in allowed) / sum(weights[j] for j in allowed)
            left -= held[i]
        law[order] = probability
    assert sum(law.values()) == pytest.approx(1.0)
    return law


def assert_follows(drawn, law):
    """Chi-square of ordered draws against their law; impossible ones must not occur."""
    counts = dict.fromkeys(law, 0)
    for order in drawn:
        counts[tuple(order.tolist())] += 1
    assert all(counts[order] == 0 for order in law if law[order] == 0)
    possible = [order for order in law if law[order] > 0]
    expected = np.array([law[order] for order in possible])
    order = np.argsort(expected)
    # Rare orders share a cell, as the chi-square law needs about five in each.
    cell = np.cumsum(expected[order]) * len(drawn) // 6
    observed = np.bincount(cell.astype(int), np.array([counts[o] for o in possible])[order])
    wanted = np.bincount(cell.astype(int), expected[order] * len(drawn))
    kept = wanted > 0
    assert kept.sum() > 5
    assert stats.chisquare(observed[kept], wanted[kept]).pvalue > 0.001


def five_problems(**settings_):
    """Success rates from none to all; problems 3 and 4 are unsolved."""
    sampler = PrioritizedSampler(5, floor=0.1, unsolved_after=8, **settings_)
    sampler.observe(np.arange(1, 5), np.array([20, 5, 0, 0]), np.array([20, 10, 8, 30]))
    return sampler


LEVELS = [0, 1, 1, 0, 1]


@pytest.mark.parametrize("way", ["mostly_by_rejection", "by_keys", "change_over"])
@pytest.mark.parametrize("cap", [1.0, 0.34])
@pytest.mark.parametrize("curriculum", [False, True])
def test_draws_follow_the_law_of_successive_sampling(way, cap, curriculum, monkeypatch):
    both = {"levels": LEVELS, "schedule": EasyToHard(iterations=4)} if curriculum else {}
    sampler = five_problems(cap=cap, seed=1, **both)
    weights = np.maximum(0.1, 1 - sampler.success_rates.mean())
    if curriculum:
        # A quarter of the walk: levels 0 and 1 weigh 0.75 and 0.25.
        weights *= np.array([0.75, 0.25])[LEVELS]
    if way == "by_keys":
        monkeypatch.setattr(sampler, "_draw_by_rejection", lambda n, quota: np.empty(0, np.int64))
    if way == "change_over":
        by_rejection = sampler._draw_by_rejection
        monkeypatch.setattr(sampler, "_draw_by_rejection", lambda n, quota: by_rejection(n, quota)[:1])
    drawn = []
    for _ in range(DRAWS):
        sampler.iteration = 0
        drawn.append(sampler.draw(3))
    assert_follows(drawn, successive_law(weights, np.array([0, 0, 0, 1, 1]), 3, int(cap * 3)))


def test_a_refill_follows_the_law_of_what_is_left():
    sampler = five_problems(cap=1.0, seed=2)
    weights = np.maximum(0.1, 1 - sampler.success_rates.mean())
    drawn = [np.concatenate([sampler.draw(2), sampler.draw(1, refill=True)]) for _ in range(DRAWS)]
    assert_follows(drawn, successive_law(weights, np.zeros(5), 3, 3))


@settings(max_examples=80, deadline=None)
@given(
    solved=st.integers(0, 30),
    unsolved=st.integers(0, 30),
    n=st.integers(1, 60),
    cap=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_unsolved_problems_fill_at_most_the_cap_while_others_wait(solved, unsolved, n, cap, seed):
    size = solved + unsolved
    if not size:
        return
    sampler = PrioritizedSampler(size, cap=cap, unsolved_after=8, seed=seed)
    sampler.observe(np.arange(size), np.repeat([8, 0], [solved, unsolved]), np.full(size, 8))
    # Beyond the size of the set the drawing starts over; here the first pass counts.
    first_pass = sampler.draw(n)[:size]
    hard = first_pass >= solved
    if hard.sum() > cap * n + 1e-6:
        over = np.flatnonzero(hard)[int(cap * n + 1e-9)]
        assert np.isin(np.arange(solved), first_pass[:over]).all()


def test_the_cap_counts_a_decimal_share_as_written():
    sampler = PrioritizedSampler(400, cap=0.29, unsolved_after=8)
    sampler.observe(np.arange(200), np.zeros(200, int), np.full(200, 8))
    sampler.observe(np.arange(200, 400), np.full(200, 800), np.full(200, 800))
    assert (sampler.draw(100) < 200).sum() == 29
    assert sampler.metrics()["drawn_unsolved"] == pytest.approx(0.29)


def test_the_floor_brings_solved_problems_back():
    def share_of_solved(floor):
        sampler = PrioritizedSampler(1000, floor=floor)
        sampler.observe(np.arange(500), np.full(500, 10**6), np.full(500, 10**6))
        return np.concatenate([sampler.draw(50) < 500 for _ in range(100)]).mean()

    assert share_of_solved(0.0) == 0
    # Weights 0.1 and 0.5, and a draw of 50 out of 1000 hardly depletes either.
    assert share_of_solved(0.1) == pytest.approx(0.1 / 0.6, abs=0.02)


def test_a_draw_of_nearly_everything_ends_though_weights_are_tiny():
    sampler = PrioritizedSampler(20_000, floor=0.0)
    sampler.observe(np.arange(20_000), np.full(20_000, 10**7), np.full(20_000, 10**7))
    assert len(np.unique(sampler.draw(19_999))) == 19_999


@settings(max_examples=50, deadline=None)
@given(
    levels=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    iterations=st.integers(1, 6),
    n=st.integers(1, 80),
    prioritized=st.booleans(),
)
def test_only_levels_of_the_schedule_are_drawn(levels, iterations, n, prioritized):
    levels = np.array(levels)
    for schedule in (EasyToHard(iterations), UniformThenHard(int(levels.max()), iterations)):
        if prioritized:
            sampler = PrioritizedSampler(len(levels), levels=levels, schedule=schedule)
        else:
            sampler = CurriculumSampler(levels, schedule)
        present = np.unique(levels)
        for iteration in range(8):
            ids = sampler.draw(n)
            weights = schedule.weights(iteration, present)
            assert np.isin(levels[ids], present[weights > 0]).all()
            sampler.observe(ids, np.zeros(n, int), np.ones(n, int))


def test_levels_are_drawn_by_the_weight_of_their_problems():
    levels = np.repeat([0, 1], [3000, 1000])
    sampler = CurriculumSampler(levels, EasyToHard(iterations=2))
    sampler.draw(1)
    ids = np.concatenate([sampler.draw(20), *(sampler.draw(20, refill=True) for _ in range(19))])
    assert levels[ids].mean() == pytest.approx(0.25, abs=0.07)
    assert sampler.metrics()["drawn_level"] == pytest.approx(levels[ids].mean())


def test_few_open_problems_are_listed_and_the_list_is_dropped_again():
    levels = np.repeat([0, 1, 2], [10, 900, 90])
    sampler = CurriculumSampler(levels, EasyToHard(iterations=2))
    np.testing.assert_array_equal(np.sort(sampler.draw(10)), np.arange(10))
    assert (levels[sampler.draw(10)] == 1).all()
    assert sampler._listed is None
    assert (levels[sampler.draw(10)] == 2).all()
    assert len(sampler._listed) == 90


def test_the_cap_holds_over_a_whole_draw_that_starts_over():
    sampler = PrioritizedSampler(20, cap=0.2, unsolved_after=8)
    sampler.observe(np.arange(20), np.repeat([8, 0], 10), np.full(20, 8))
    unsolved = np.concatenate([sampler.draw(10), sampler.draw(18, refill=True)]) >= 10
    # 2 of the first 10; then 2 solved ones are left and all unsolved ones come, so the new start has none to spare.
    assert [unsolved[:10].sum(), unsolved[10:20].sum(), unsolved[20:].sum()] == [2, 8, 0]
