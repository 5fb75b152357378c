"""Contests and samples of a model: points, ranks, rating and percentile, and what is wrong with a file."""

import json

import pytest

from k15_plugins.evaluation.codeforces_contests import rate, read_contests, table
from k15_plugins.evaluation.codeforces_rating import contest_rating

PEOPLE = [
    {"points": 1500, "penalty": 0, "rating": 2000},
    {"points": 960, "penalty": 0, "rating": 1600},
    {"points": 450, "penalty": 0, "rating": 1200},
    {"points": 0, "penalty": 0, "rating": 800},
]
ROUND = {"contest": "1700", "problems": {"A": 500, "B": 1000}, "standings": PEOPLE}
ICPC = {
    "contest": 1701,
    "problems": None,
    "standings": [
        {"points": 2, "penalty": 30, "rating": 1900},
        {"points": 1, "penalty": 15, "rating": 1500},
        {"points": 1, "penalty": 5, "rating": 1300},
    ],
}


def write(tmp_path, *rows):
    path = tmp_path / "contests.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_points_rank_and_rating(tmp_path):
    contests = read_contests(write(tmp_path, ROUND), ["1700/A", "1700/B"])
    # B right in the second submission: 1000 - 50, below 960.
    found = rate(contests, {"1700/A": [False, False], "1700/B": [False, True]})
    of = found["contests"]["1700"]
    assert (of["solved"], of["points"], of["rank"], of["people"]) == (1, 950, 3, 4)
    assert found["rating"] == of["rating"] == contest_rating(3, [2000, 1600, 1200, 800])
    assert 800 < found["rating"] < 1600
    assert found["percentile"] == 50
    # At once it is worth 1000, and A after ten wrong ones 30 % of its points.
    of = rate(contests, {"1700/A": [False] * 10 + [True], "1700/B": [True]})["contests"]["1700"]
    assert (of["points"], of["rank"]) == (1150, 2)


def test_who_solves_nothing_is_last_also_among_others_who_did_not_and_equals_share_the_last_rank(tmp_path):
    contests = read_contests(write(tmp_path, ROUND), ["1700/A", "1700/B"])
    with pytest.raises(ValueError, match="rights must hold the samples of at least one problem, got none"):
        rate(contests, {})
    nothing = rate(contests, {"1700/A": [False], "1700/B": [False]})
    assert nothing["contests"]["1700"]["rank"] == 5
    assert (round(nothing["rating"]), nothing["percentile"]) == (0, 0)
    everything = rate(contests, {"1700/A": [True], "1700/B": [True]})
    assert everything["contests"]["1700"]["rank"] == 2
    assert everything["percentile"] == 75


def test_penalties_where_each_problem_counts_one(tmp_path):
    contests = read_contests(write(tmp_path, ICPC), ["1701/C"])
    ranks = [rate(contests, {"1701/C": right})["contests"]["1701"]["rank"] for right in ([True], [False, True])]
    assert ranks == [2, 3]  # no penalty; then 10, between 5 and 15


def test_several_contests_are_averaged(tmp_path):
    contests = read_contests(write(tmp_path, ROUND, ICPC), ["1700/A", "1701/A"])
    found = rate(contests, {"1700/A": [True], "1701/A": [False]})
    each = [of["rating"] for of in found["contests"].values()]
    assert found["rating"] == pytest.approx(sum(each) / 2)
    assert found["rating_interval"] == pytest.approx(sorted(each))
    assert f"| tiny | {found['rating']:.0f} [" in table({"tiny": found})


def test_contests_of_other_problems_are_passed_over(tmp_path):
    broken = {"contest": 5, "standings": "none"}
    assert set(read_contests(write(tmp_path, broken, ICPC), ["1701/A"])) == {"1701"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"problems": None, "standings": PEOPLE}, "line 1: contest must be the number of a contest, got None"),
        ({"contest": 1700, "standings": PEOPLE}, "line 1: problems is missing; give points by letter, or null"),
        (ROUND | {"problems": {"A": "500"}}, "line 1: problems must be points by letter, or null"),
        (ROUND | {"standings": []}, "line 1: standings must be a list with one entry a person"),
        (ROUND | {"standings": [*PEOPLE, {"points": 1}]}, r"line 1: standings\[4\] must have the number penalty, got"),
        (ROUND | {"standings": [PEOPLE[0] | {"rating": None}]}, r"standings\[0\] must have the number rating"),
        (
            ROUND | {"contest": 1},
            r"stage.standings=\S+ must have the contest of every problem, .* contest of 1700/A; ",
        ),
        (ROUND | {"problems": {"B": 5}}, r"stage.standings=\S+ .* and lacks the points of 1700/A; add it, or leave"),
    ],
)
def test_a_wrong_contest_is_told_with_file_line_and_field(row, told, tmp_path):
    with pytest.raises(ValueError, match=rf"contests\.jsonl.*{told}" if told.startswith("line") else told) as error:
        read_contests(write(tmp_path, row), ["1700/A"])
    assert len(str(error.value).splitlines()) == 1


def test_a_contest_stands_once(tmp_path):
    with pytest.raises(ValueError, match="line 2: contest 1700 stands on an earlier line too; remove one of the two"):
        read_contests(write(tmp_path, ROUND, ROUND | {"contest": 1700}), ["1700/A"])
