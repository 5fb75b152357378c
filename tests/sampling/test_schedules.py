import numpy as np
import pytest

from k15_plugins.sampling import CurriculumSampler, EasyToHard, UniformThenHard

LEVELS = np.array([1, 4, 9])


@pytest.mark.parametrize(
    ("iteration", "weights"),
    [(0, [1, 0, 0]), (2, [0.5, 0.5, 0]), (4, [0, 1, 0]), (5, [0, 0.75, 0.25]), (8, [0, 0, 1]), (100, [0, 0, 1])],
)
def test_easy_to_hard_walks_over_the_levels_that_occur(iteration, weights):
    np.testing.assert_allclose(EasyToHard(iterations=8).weights(iteration, LEVELS), weights)


@pytest.mark.parametrize(("iteration", "weights"), [(0, [1, 1, 1]), (23, [1, 1, 1]), (24, [0, 1, 1]), (99, [0, 1, 1])])
def test_uniform_then_hard_switches_at_the_papers_iteration(iteration, weights):
    np.testing.assert_array_equal(UniformThenHard(hard_level=4).weights(iteration, LEVELS), weights)


def test_a_schedule_that_would_leave_nothing_is_refused_before_the_run():
    with pytest.raises(ValueError, match="hard_level=10 leaves no problem after the switch; lower it to 9"):
        CurriculumSampler(LEVELS, UniformThenHard(hard_level=10))


def test_a_schedule_of_ones_own_must_weigh_every_level():
    class Nothing:
        def weights(self, iteration, levels):
            return np.zeros(len(levels))

    with pytest.raises(ValueError, match="not all zero"):
        CurriculumSampler(LEVELS, Nothing())


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="iterations must be 1 or more, got 0"):
        EasyToHard(iterations=0)
    with pytest.raises(ValueError, match="switch_iteration must be 0 or more, got -1"):
        UniformThenHard(hard_level=1, switch_iteration=-1)
    with pytest.raises(ValueError, match="iterations must be a number, got '4'"):
        EasyToHard("4")
    with pytest.raises(ValueError, match="hard_level must be a number, got 'a'"):
        UniformThenHard("a", 3)
