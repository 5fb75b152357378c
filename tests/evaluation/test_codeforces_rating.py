"""The rating of a model among people: it gives back the strength of one whose rank was drawn by Elo's rule."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k15_plugins.evaluation.codeforces_rating import contest_rank, contest_rating, expected_rank, percentile

PEOPLE = [random.Random(0).gauss(1400, 350) for _ in range(2000)]


@pytest.mark.parametrize("strength", [1000, 1400, 2200])
def test_the_rating_of_a_known_strength_comes_back(strength):
    rng = random.Random(1)
    ranks = [1 + sum(rng.random() < 1 / (1 + 10 ** ((strength - other) / 400)) for other in PEOPLE) for _ in range(20)]
    assert contest_rating(sum(ranks) / len(ranks), PEOPLE) == pytest.approx(strength, abs=25)


def test_two_equals_share_the_ranks():
    assert expected_rank(1500, [1500]) == 1.5
    assert contest_rating(1.5, [1500]) == pytest.approx(1500, abs=0.01)
    assert expected_rank(1900, [1500]) == pytest.approx(1 + 1 / 11)


def test_the_ends():
    assert contest_rating(len(PEOPLE) + 1, PEOPLE) == pytest.approx(0, abs=0.01)
    assert contest_rating(1, PEOPLE) == pytest.approx(5000, abs=0.01)
    for rank in (0, len(PEOPLE) + 2):
        with pytest.raises(ValueError, match="rank must be from 1 to 2001"):
            contest_rating(rank, PEOPLE)


@given(st.lists(st.floats(0, 4000), min_size=1, max_size=30), st.data())
def test_a_better_rank_is_never_rated_lower(ratings, data):
    ranks = sorted(data.draw(st.lists(st.integers(1, len(ratings) + 1), min_size=2, max_size=2)))
    assert contest_rating(ranks[0], ratings) >= contest_rating(ranks[1], ratings)


def test_rank_and_percentile():
    standings = [(3, 10), (3, 5), (4, 99), (2, 0)]
    assert contest_rank(3, 10, standings) == 4
    assert contest_rank(3, 9, standings) == 3
    assert contest_rank(5, 0, standings) == 1
    assert contest_rank(0, 0, standings) == 5
    assert percentile(1500, [1000, 1500, 2000, 1400]) == 50
    with pytest.raises(ValueError, match="got none"):
        percentile(1, [])
