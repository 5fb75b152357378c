"""Figures of samples against closed forms, enumeration and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k15_plugins.evaluation.statistics import (
    bootstrap_intervals,
    compare,
    details,
    majority_vote,
    pass_at_k,
    sign_flip_p_value,
    summarize,
    table,
)
from k15_plugins.samples import Sample, SampledProblem


def problem(verdicts, tokens=None, answers=None, number=0, task="sum", level=0):
    tokens = tokens or [3] * len(verdicts)
    answers = answers or [None] * len(verdicts)
    samples = [
        Sample("", list(range(length)), bool(right), length > 9, answer)
        for right, length, answer in zip(verdicts, tokens, answers, strict=True)
    ]
    return SampledProblem(number, f"prompt {number}", [1], samples, task, level)


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(verdicts, data):
    k = data.draw(st.integers(1, len(verdicts)))
    subsets = list(itertools.combinations(verdicts, k))
    found = pass_at_k(len(verdicts), sum(verdicts), k)
    assert found == pytest.approx(sum(any(subset) for subset in subsets) / len(subsets))


def test_majority_votes():
    assert majority_vote(problem([1, 1, 0], answers=["5", "5", "4"])) == 1.0
    assert majority_vote(problem([1, 0, 0], answers=["5", "4", "4"])) == 0.0
    assert majority_vote(problem([1, 0, 0], answers=["5", "4", None])) == 0.5
    assert majority_vote(problem([0, 0], answers=[None, None])) is None
    # Right answers agree however they are written; wrong ones only if they are the same.
    halves = ["\\frac{1}{2}", "1/2", "0.5"]
    assert majority_vote(problem([1, 1, 1, 0, 0], answers=[*halves, "3", "3"])) == 1.0
    assert majority_vote(problem([1, 1, 0, 0, 0], answers=["1/2", "0.5", "3", "4", "5"])) == 1.0


def test_a_summary_by_hand():
    problems = [
        problem([1, 0], [4, 6], ["7", "8"], number=0, level=0),
        problem([1, 1], [10, 20], ["7", "7"], number=1, level=1),
        problem([0, 0], [2, 6], [None, None], number=2, level=1, task="other"),
    ]
    summary = summarize(problems)
    of = summary["all"]
    assert (of["problems"], of["samples"]) == (3, 2)
    assert of["accuracy"] == of["pass_at"]["1"] == 0.5
    assert of["pass_at"] == {"1": 0.5, "2": pytest.approx(2 / 3)}
    assert of["majority"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert of["tokens"] == 8
    assert of["tokens_percentiles"]["50"] == 6
    assert of["tokens_max"] == 20
    assert of["truncated"] == pytest.approx(2 / 6)
    assert summary["tasks"]["other"]["accuracy"] == 0
    assert summary["tasks"]["other"]["majority"] is None
    assert summary["levels"]["sum"]["1"]["accuracy"] == 1
    low, high = of["accuracy_interval"]
    assert 0 <= low <= 0.5 <= high <= 1
    for name in ("pass_at_intervals", "majority_interval", "truncated_interval"):
        assert name in summary["tasks"]["other"]
    low, high = of["pass_at_intervals"]["2"]
    assert 0 <= low <= 2 / 3 <= high <= 1
    assert of["pass_at_intervals"]["1"] == of["accuracy_interval"]
    low, high = of["majority_interval"]
    assert 0 <= low <= 0.5 <= high <= 1
    low, high = of["truncated_interval"]
    assert 0 <= low <= 1 / 3 <= high <= 1
    assert summary["tasks"]["other"]["majority_interval"] is None
    assert "| a | 0.500 [" in table({"a": summary})
    assert "+0.000" in table({"a": summary, "b": summary}, {"b": compare(problems, problems)})


def test_the_table_of_details_has_every_task_and_level():
    problems = [
        problem([1, 0], [2, 8], number=0, level=0),
        problem([1, 1], [3, 3], number=1, level=11),
        problem([0, 0], [9, 10], number=2, level=2, task="other"),
    ]
    rows = [
        line.split(" | ") for line in details({"a": summarize(problems), "b": summarize(problems[:1])}).splitlines()
    ]
    assert rows[0][:4] == ["| model", "task", "level", "problems"]
    assert [row[:4] for row in rows[2:]] == [
        ["| a", "other", "all", "1"], ["| a", "other", "2", "1"],
        ["| a", "sum", "all", "2"], ["| a", "sum", "0", "1"], ["| a", "sum", "11", "1"],
        ["| b", "sum", "all", "1"], ["| b", "sum", "0", "1"],
    ]  # fmt: skip
    first = dict(zip(rows[0], rows[5], strict=True))
    assert first["accuracy (pass@1)"] == "0.500 [0.500, 0.500]"
    assert first["tokens p5 / p50 / p95"] == "2 / 5 / 8"
    assert first["truncated |"] == "0.000 [0.000, 0.000] |"
    assert "| 2 / 5 / 8 |" in table({"b": summarize(problems[:1])})


def test_intervals_of_what_problems_agree_on_have_no_width():
    of = summarize([problem([1, 0], answers=["1", "2"], number=number) for number in range(9)])["all"]
    assert of["pass_at_intervals"] == {"1": [0.5, 0.5], "2": [1.0, 1.0]}
    assert of["majority_interval"] == [0.5, 0.5]
    assert of["truncated_interval"] == [0.0, 0.0]


def test_one_problem_and_no_spread_have_intervals_of_no_width():
    of = summarize([problem([1, 0])])["all"]
    assert of["accuracy_interval"] == [0.5, 0.5]
    of = summarize([problem([1, 0], number=number) for number in range(9)])["all"]
    assert of["accuracy_interval"] == pytest.approx([0.5, 0.5])


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        values = rng.normal(2.0, 1.0, size=(60, 1))
        ((low, high),) = bootstrap_intervals(values, 400, rng)
        covered += low <= 2.0 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_the_p_value_agrees_with_all_sign_flips():
    differences = np.array([0.5, -0.25, 1.0, 0.0, 0.75, -0.5, 0.25])
    signs = np.array(list(itertools.product([-1, 1], repeat=7)))
    exact = np.mean(np.abs(signs @ differences) >= np.abs(differences.sum()) - 1e-12)
    found = sign_flip_p_value(differences, 40_000, np.random.default_rng(0))
    assert found == pytest.approx(exact, abs=0.01)
    assert sign_flip_p_value(np.zeros(5), 100, np.random.default_rng(0)) == 1.0


def test_two_models_are_compared_problem_by_problem():
    rng = np.random.default_rng(1)
    better = [problem(rng.random(4) < 0.7, [5] * 4, number=number) for number in range(200)]
    worse = [problem(rng.random(4) < 0.5, [8] * 4, number=number) for number in range(200)]
    found = compare(better, worse)
    assert found["accuracy"]["p_value"] < 0.001
    assert found["accuracy"]["interval"][0] > 0.1
    assert found["tokens"]["difference"] == -3
    back = compare(worse, better)
    assert back["accuracy"]["difference"] == -found["accuracy"]["difference"]
    same = [problem(rng.random(4) < 0.5, number=number) for number in range(200)]
    assert compare(same, worse)["accuracy"]["p_value"] > 0.05


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="problems must hold at least one problem, got none"):
        summarize([])
    with pytest.raises(ValueError, match="equally many samples each, got 1 to 2"):
        summarize([problem([1]), problem([1, 0])])
    with pytest.raises(ValueError, match="problems must hold at least one problem, got none"):
        compare([], [])
    with pytest.raises(ValueError, match="not of the same problems"):
        compare([problem([1], number=0)], [problem([1], number=1)])
