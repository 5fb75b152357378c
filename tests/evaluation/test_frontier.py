"""The frontier of accuracy and tokens, and the rule of the choice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k15_plugins.evaluation.frontier import Point, frontier, select

points = st.lists(
    st.builds(Point, st.sampled_from("abcdef"), st.sampled_from([0.1, 0.5, 0.59, 0.6]), st.integers(1, 6)), min_size=1
)


def test_by_hand():
    long, rl, dpo, bad = Point("long", 0.80, 50), Point("rl", 0.795, 24), Point("dpo", 0.7, 20), Point("bad", 0.6, 30)
    assert frontier([long, rl, dpo, bad]) == [dpo, rl, long]
    assert select([long, rl, dpo, bad]) == rl
    assert select([long, rl, dpo, bad], accuracy_loss=0.0) == long
    assert select([long, rl, dpo, bad], accuracy_loss=0.11) == dpo
    tie, first = Point("tie", 0.795, 24), Point("first", 0.793, 24)
    assert select([first, rl, tie]) == rl


@given(points)
def test_the_frontier_is_what_nobody_beats(given_points):
    kept = frontier(given_points)
    assert kept
    for point in given_points:
        beats = [
            other for other in given_points
            if other.accuracy >= point.accuracy and other.tokens <= point.tokens
            and (other.accuracy > point.accuracy or other.tokens < point.tokens)
        ]  # fmt: skip
        assert (point in kept) == (not beats)
    assert [point.tokens for point in kept] == sorted(point.tokens for point in kept)


@given(points, st.floats(0, 1))
def test_the_choice_is_the_shortest_good_one(given_points, loss):
    chosen = select(given_points, loss)
    best = max(point.accuracy for point in given_points)
    assert chosen.accuracy >= best - loss - 1e-9
    assert all(point.tokens >= chosen.tokens for point in given_points if point.accuracy >= best - loss)
    assert any(point[1:] == chosen[1:] for point in frontier(given_points))


def test_exactly_one_point_is_within_one_point():
    for best in range(1, 101):
        less = Point("less", (best - 1) / 100, 10)
        assert select([Point("best", best / 100, 20), less], accuracy_loss=0.01) == less


def test_a_loss_out_of_range_is_refused():
    with pytest.raises(ValueError, match="accuracy_loss must be a share from 0 to 1, got 2"):
        select([Point("a", 0.5, 1.0)], 2)


def test_no_model_is_refused():
    with pytest.raises(ValueError, match="points must hold at least one model, got none"):
        select([])


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (Point("a", float("nan"), 3.0), "points must hold finite figures, got Point"),
        (("a", 0.5, 3.0), "points must hold objects of Point, got "),
        (Point("a", "0.5", 3.0), "accuracy must be a number, got '0.5'"),
    ],
)
def test_a_model_without_figures_is_refused(point, message):
    with pytest.raises(ValueError, match=message):
        select([point, Point("b", 0.5, 4.0)])
