"""In every task of reasoning-gym the right answer pays, and nothing made from it by mistake, hedging or cunning."""

import json
import re

import pytest
from reasoning_gym.factory import DATASETS, create_dataset

from k15_plugins.rewards.score_reasoning_gym import score
from k15_plugins.tasks.entries import dump_entry

ALL_TASKS = sorted(DATASETS.keys() - {"composite"})
RIGHT_IN_METADATA = {
    "graph_color": lambda metadata: json.dumps(metadata["possible_answer"]),
    "propositional_logic": lambda metadata: metadata["example_answer"],
    "rubiks_cube": lambda metadata: metadata["example_correct_answer"],
}
UNRELATED = [
    *("nan", "NaN", "-nan", "inf", "Infinity", "1e400", "NaN,NaN", "nan+nani", "[NaN]", "[]", "{}", "[[]]", "[{}]"),
    *(
        "true",
        "null",
        "True",
        "yes",
        "no",
        "A",
        "no such thing",
        ",",
        ".",
        "()",
        "0/1",
        "0 0",
        "-0",
        "0",
        "1",
        "-1",
        "7",
    ),
    *('""', '{"a": 1}', "1e-9", "0.00001"),
]


def shifted(text, by):
    return re.sub(r"-?\d+(?:\.\d+)?", lambda number: str(float(number[0]) + by), text)


def as_json(text, change):
    try:
        read = json.loads(text)
    except ValueError:
        return text
    return json.dumps(change(read)) if isinstance(read, list) else text


def spoilt(right):
    """Wrong answers made from the right one, by name."""
    return {
        "or 7": f"{right} or 7",
        "or 7 on a line": f"{right}\nor 7",
        "7 before": f"7 {right}",
        "x behind": f"{right}xyz",
        "not": f"not {right}",
        "minus": f"-{right}",
        "wrong": f"{right} (wrong)",
        "maybe": f"maybe {right}",
        "another": f"{right}, 99",
        "a list": f"{right} [99]",
        "twice": f"{right} {right}",
        "twice on lines": f"{right}\n{right}",
        "shape": f"Shape: 9x9\n{right}",
        "a little more": shifted(right, 0.004),
        "much more": shifted(right, 0.9),
        "a thousandth more": re.sub(r"-?\d+\.\d+", lambda number: str(float(number[0]) * 1.004), right),
        "numbers to NaN": re.sub(r"-?\d+(?:\.\d+)?", "NaN", right),
        "longer": as_json(right, lambda items: [*items, "zq"]),
        "longer by itself": as_json(right, lambda items: [*items, *items]),
        "longer rows": as_json(right, lambda rows: [[*row, 7] if isinstance(row, list) else [row] for row in rows]),
        "shorter": as_json(right, lambda items: items[:-1]),
        "a word more in quotes": re.sub(r'"([^"]+)"', r'"\1 or B"', right),
    }


def says_the_same(name, task, given, right, entry):
    """What a change left right, or made into another right answer."""
    if given.split() == right.split() or (task == "calendar_arithmetic" and given.casefold() == right.casefold()):
        return True
    if task in ("game_of_life_halting", "acre") and given.casefold() == right.casefold():
        return True
    if task in ("simple_integration", "intermediate_integration"):
        return name == "7 before" and right.startswith("-")  # another constant
    if task in ("sokoban", "rubiks_cube", "jugs"):
        return name in ("twice", "twice on lines", "longer by itself")  # may end at the goal too
    if task == "power_function":  # asked for to three figures only
        return "more" in name
    if task in ("pool_matrix", "advanced_geometry"):  # to two places
        return name == "a little more"
    try:
        return float(given) == float(right)
    except ValueError:
        return False


def entries(task):
    dataset = create_dataset(task, size=4, seed=5)
    found = []
    for index in range(4):
        try:
            entry = dataset[index]
        except Exception:  # some generators give up on some seeds
            continue
        make = RIGHT_IN_METADATA.get(task)
        right = make(entry["metadata"]) if make else entry["answer"]
        found.append((right if right is None else right.strip(), dump_entry({**entry, "config": {}}), entry))
    return found


@pytest.mark.parametrize("task", ALL_TASKS)
def test_the_right_answer_pays_and_nothing_else_does(task):
    paid = []
    for right, dumped, entry in entries(task):
        wrong = {text: text for text in UNRELATED}
        if right and "Integral" not in right and not (task == "propositional_logic" and len(right) == 1):
            assert score(right, task, dumped) == 1, right
            wrong |= spoilt(right)
        for name, given in wrong.items():
            if right and says_the_same(name, task, given.strip(), right, entry):
                continue
            if right == "" and given == '""':
                continue
            try:
                value = score(given.strip(), task, dumped)
            except Exception:  # the verifier counts it as wrong
                continue
            if value >= 1:
                paid.append((name, given, right))
    assert not paid
