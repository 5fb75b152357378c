"""The answers to the same held-out problems at the start, in the middle and at the end of a run."""

from typing import Any

from k15_plugins.files.jsonl import Line


def answers_over_time(held_out: list[Line], number: int, penalty_from: int | None = None) -> list[dict[str, Any]]:
    """Choose held-out problems and the answers to show of each.

    The problems are the first ones of the data set, one of each level before a second one of any; how they were
    answered plays no part.

    Args:
        held_out: Lines of held_out.jsonl.
        number: How many problems.
        penalty_from: Iteration in which the length reward sets in; its evaluation is shown too.

    Returns:
        A problem each: `prompt`, `right_answer` (None where it is not known) and `answers`, a dict from
        the name of a time to a line of held_out.jsonl.
    """
    times = sorted({line["iteration"] for line in held_out})
    if not times:
        return []
    shown = {times[0]: "start", times[len(times) // 2]: "middle", times[-1]: "end"}
    if penalty_from in times:
        shown.setdefault(penalty_from, "length reward sets in")
    by_problem: dict[str, dict[int, Line]] = {}
    for line in held_out:
        by_problem.setdefault(str(line["prompt"]), {})[line["iteration"]] = line
    whole = [lines for lines in by_problem.values() if shown.keys() <= lines.keys()]
    return [
        {
            "prompt": lines[times[0]]["prompt"],
            "right_answer": lines[times[0]].get("answer"),
            "answers": {f"{shown[time]} ({time} iterations)": lines[time] for time in sorted(shown)},
        }
        for lines in _one_of_each_level(whole, times[0])[:number]
    ]


def _one_of_each_level(problems: list[dict[int, Line]], time: int) -> list[dict[int, Line]]:
    seen: dict[Any, int] = {}
    order = []
    for place, lines in enumerate(problems):
        level = lines[time].get("level", 0)
        seen[level] = seen.get(level, 0) + 1
        order.append((seen[level], level, place))
    return [problems[place] for _, _, place in sorted(order)]
