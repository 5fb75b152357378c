import json
import random

import pytest

from k15_plugins.rewards import CodeReward
from k15_plugins.stages.train_on_programs import program_rows
from k15_plugins.tasks.code_places import Place
from k15_plugins.tasks.short_functions import FILE, short_functions, solutions, write_short_functions

ROWS = [json.loads(line) for line in FILE.read_text().splitlines()]


def fenced(program):
    return [{"role": "assistant", "content": f"```python\n{program}```"}]


def test_the_file_is_what_the_module_writes():
    assert list(write_short_functions()) == ROWS
    assert FILE.stat().st_size < 5e5


def test_the_tests_of_a_problem_tell_it_from_the_others():
    names = [{} for _ in ROWS]
    for row, space in zip(ROWS, names, strict=True):
        exec(row["provenance"]["solution"], space)
    other = random.Random(0)
    passed = 0
    for row in ROWS:
        arguments = row["prompt"].partition("(")[2].partition(")")[0]
        rivals = [
            space
            for rival, space in zip(ROWS, names, strict=True)
            if rival is not row and f"({arguments})" in rival["prompt"]
        ]
        for space in other.sample(rivals, 20):
            passed += all(space["f"](*test["input"]) == test["output"] for test in row["tests"])
    # Some mean the same, as the largest square of all numbers and of those that are not 0.
    assert passed <= 0.01 * 20 * len(ROWS)


def test_no_problem_is_both_trained_on_and_held_out():
    problems = short_functions(held_out=0.1)
    assert len(problems.train) + len(problems.held_out) == len(ROWS)
    train, held_out = ({row["prompt"][-1]["content"] for row in side} for side in problems)
    assert not train & held_out
    assert {Place.load(text).file for text in problems.train["problem"]} == {str(FILE.resolve())}


@pytest.mark.parametrize("stride", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_solutions_pass_and_broken_ones_do_not(stride):
    train = short_functions(held_out=0.1).train
    train = train.select(range(0, len(train), stride))
    known = solutions()
    right = [known[row["prompt"][-1]["content"]] for row in train]
    wrong = [program.replace("return ", "return 1 and 77 or ") for program in right]
    reward = CodeReward()
    places = list(train["problem"])
    assert reward(None, [fenced(program) for program in right], None, problem=places) == [1.0] * len(train)
    assert reward(None, [fenced(program) for program in wrong], None, problem=places) == [0.0] * len(train)


def test_training_rows_are_drawn_without_replacement_and_end_their_block():
    train = short_functions(held_out=0.1, system="Write Python.").train
    rows = list(program_rows(train, len(train) + 3, seed=1))
    seen = [row["prompt"][-1]["content"] for row in rows]
    assert len(set(seen[: len(train)])) == len(train)
    assert rows[0]["prompt"][0] == {"role": "system", "content": "Write Python."}
    assert rows[0]["completion"] == fenced(solutions()[seen[0]])
    assert list(program_rows(train, 5, seed=1)) == rows[:5]
    assert list(program_rows(train, 5, seed=2)) != rows[:5]
