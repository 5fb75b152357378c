"""What samples of Codeforces problems are worth among the people of their contests: ranks, rating, percentile.

The samples of a problem count as submissions in their order, up to the first right one, as if they were handed in at
the start: time costs nothing. Each wrong one before it costs what it costs a person, 50 points, or 10 minutes of
penalty where every problem counts 1. Standings and ratings change, so they come as a file of the user's.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from k15_plugins.evaluation.codeforces_rating import contest_rank, contest_rating, percentile
from k15_plugins.evaluation.statistics import bootstrap_intervals
from k15_plugins.files.jsonl import Line, read_rows

_WRONG_POINTS, _WRONG_PENALTY = 50, 10
_LEAST_SHARE = 0.3
"""Of a problem's points, which a right submission keeps after any number of wrong ones, as on Codeforces."""
_OF_A_PERSON = ("points", "penalty", "rating")


@dataclass(frozen=True)
class Contest:
    """A contest that is over.

    Attributes:
        problems: Points of each problem by its letter; None where each counts 1 and time counts as a penalty.
        people: Points, penalty and rating of everybody, the rating as it was before the contest.
    """

    problems: Mapping[str, float] | None
    people: Sequence[tuple[float, float, float]]


def read_contests(path: Path, ids: Iterable[str]) -> dict[str, Contest]:
    """Read the contests of some problems.

    Args:
        path: JSONL with a contest a line: `contest`, its number; `problems`, points by letter, or null where each
            counts 1; `standings`, a list of `{"points": ..., "penalty": ..., "rating": ...}`, one a person.
        ids: Of the problems, as "1700/A". Contests of other problems are passed over.

    Returns:
        Contest by number.

    Raises:
        ValueError: If a line is wrong, naming file, line and field, or the file lacks a problem.
    """
    if not path.is_file():
        raise ValueError(f"stage.standings must be a file of contests, got {path}, which does not exist; correct it.")
    ids = list(ids)
    wanted = {_contest_of(name) for name in ids}
    contests: dict[str, Contest] = {}
    for where, row in read_rows(path):
        number = row.get("contest")
        if not isinstance(number, str | int) or isinstance(number, bool) or number == "":
            raise ValueError(f"{where}: contest must be the number of a contest, got {number!r:.60}; correct it.")
        if str(number) in contests:
            raise ValueError(f"{where}: contest {number} stands on an earlier line too; remove one of the two.")
        if str(number) in wanted:
            contests[str(number)] = Contest(_problems(where, row), _people(where, row))
    for name in ids:
        contest = contests.get(_contest_of(name))
        if contest is None or (contest.problems is not None and name.rpartition("/")[2] not in contest.problems):
            raise ValueError(
                f"stage.standings={path} must have the contest of every problem, and lacks "
                f"{'the contest' if contest is None else 'the points'} of {name}; add it, or leave the problem out."
            )
    return contests


def rate(contests: Mapping[str, Contest], rights: Mapping[str, Sequence[bool]]) -> dict[str, Any]:
    """Return a model's rating, and the share of people with a lower one.

    Args:
        contests: Contest by number.
        rights: Which samples of each problem are right, in their order, by the problem's id. A problem of a contest
            that is not here counts as unsolved.

    Returns:
        `rating`, the mean over contests, with its 95 % interval over them (`rating_interval`); `percentile` among all
        people of these contests; and, by contest, `solved`, `points`, `penalty`, `rank`, `people` and `rating`.

    Raises:
        ValueError: If there is no problem.
    """
    if not rights:
        raise ValueError("rights must hold the samples of at least one problem, got none; give those of a contest.")
    of_contest: dict[str, dict[str, Sequence[bool]]] = defaultdict(dict)
    for name, right in rights.items():
        of_contest[_contest_of(name)][name.rpartition("/")[2]] = right
    found: dict[str, dict[str, float]] = {}
    for number, problems in of_contest.items():
        people = contests[number].people
        points, penalty = _result(contests[number], problems)
        rank = contest_rank(points, penalty, [person[:2] for person in people])
        rating = contest_rating(rank, [person[2] for person in people])
        solved = sum(any(right) for right in problems.values())
        found[number] = {"solved": solved, "points": points, "penalty": penalty, "rank": rank, "people": len(people)}
        found[number]["rating"] = rating
    ratings = np.array([[each["rating"]] for each in found.values()])
    mean = float(ratings.mean())
    return {
        "rating": mean,
        "rating_interval": bootstrap_intervals(ratings, 2000, np.random.default_rng(0))[0],
        "percentile": percentile(mean, [person[2] for number in found for person in contests[number].people]),
        "contests": found,
    }


def table(rated: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the ratings of some models as a Markdown table.

    Args:
        rated: Name of a model to what `rate` returned.
    """
    lines = ["| model | rating | percentile | contests |", "|---|---|---|---|"]
    for name, of in rated.items():
        low, high = of["rating_interval"]
        lines.append(
            f"| {name} | {of['rating']:.0f} [{low:.0f}, {high:.0f}] | {of['percentile']:.1f} | {len(of['contests'])} |"
        )
    return "\n".join(lines)


def _contest_of(name: str) -> str:
    return name.rpartition("/")[0]


def _result(contest: Contest, problems: Mapping[str, Sequence[bool]]) -> tuple[float, float]:
    """Return points and penalty."""
    points = penalty = 0.0
    for letter, right in problems.items():
        if not any(right):
            continue
        wrong = list(right).index(True)
        if contest.problems is None:
            points, penalty = points + 1, penalty + _WRONG_PENALTY * wrong
        else:
            full = contest.problems[letter]
            points += max(full - _WRONG_POINTS * wrong, _LEAST_SHARE * full)
    return points, penalty


def _problems(where: str, row: Line) -> dict[str, float] | None:
    if "problems" not in row:
        raise ValueError(f"{where}: problems is missing; give points by letter, or null where each counts 1.")
    given = row["problems"]
    if given is None:
        return None
    if not isinstance(given, dict) or not given or not all(_is_number(value) for value in given.values()):
        raise ValueError(
            f"{where}: problems must be points by letter, or null where each counts 1, got {given!r:.60}; correct it."
        )
    return given


def _people(where: str, row: Line) -> list[tuple[float, float, float]]:
    given = row.get("standings")
    if not isinstance(given, list) or not given:
        raise ValueError(f"{where}: standings must be a list with one entry a person, got {given!r:.60}; correct it.")
    for number, person in enumerate(given):
        wrong = [key for key in _OF_A_PERSON if not isinstance(person, dict) or not _is_number(person.get(key))]
        if wrong:
            raise ValueError(
                f"{where}: standings[{number}] must have the number {wrong[0]}, got {person!r:.60}; give points, "
                "penalty and rating for each person."
            )
    return [(person["points"], person["penalty"], person["rating"]) for person in given]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
