import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from k15_plugins.sampling import UniformSampler
from k15_plugins.sampling.uniform import shuffled


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 300), seed=st.integers(0, 2**32), epoch=st.integers(0, 100))
def test_shuffled_holds_every_number_once(n, seed, epoch):
    np.testing.assert_array_equal(np.sort(shuffled(np.arange(n), n, (seed, epoch))), np.arange(n))


def test_all_orders_of_four_are_equally_likely():
    orders = np.array([shuffled(np.arange(4), 4, (0, epoch)) for epoch in range(1200)])
    counts = np.unique(orders @ [1000, 100, 10, 1], return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 0.001


def test_neighbours_in_a_large_order_are_independent():
    n = 10_000_000
    drawn = shuffled(np.arange(40_000), n, (5, 0))
    cells = np.histogram2d(drawn[:-1:2], drawn[1::2], bins=10, range=[(0, n), (0, n)])[0]
    assert stats.chisquare(cells.ravel()).pvalue > 0.001
    assert abs(stats.spearmanr(np.arange(40_000), drawn).statistic) < 0.02


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 30), script=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=12))
def test_passes_keep_all_problems_level(size, script):
    """No problem is ever more than one draw ahead of another, but for those put off at the seam of two passes."""
    sampler = UniformSampler(size)
    counts = np.zeros(size, int)
    for n, refill in script:
        ids = sampler.draw(n, refill=refill and sampler.iteration >= 0)
        np.add.at(counts, ids, 1)
        assert np.ptp(counts) <= 1 + (len(sampler._put_off) > 0)


@pytest.mark.parametrize("n", [3, 7])
def test_each_pass_draws_each_problem_once(n):
    sampler = UniformSampler(21)
    for _ in range(4):
        one_pass = np.concatenate([sampler.draw(n) for _ in range(21 // n)])
        np.testing.assert_array_equal(np.sort(one_pass), np.arange(21))


def test_a_problem_put_off_at_the_seam_comes_first_in_the_next_iteration():
    for seed in range(20):
        sampler = UniformSampler(10, seed=seed)
        sampler.draw(8)
        sampler.draw(8)
        waiting = sampler._put_off.copy()
        if len(waiting):
            np.testing.assert_array_equal(sampler.draw(4)[: len(waiting)], waiting)
            return
    pytest.fail("no seed put a problem off")
