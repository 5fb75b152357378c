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


def arguments_of(row):
    return row["prompt"].partition("(")[2].partition(")")[0]


def fresh_inputs(rng, arguments):
    if arguments == "s":
        return ["".join(rng.choices("aaeeinosxtmAEINOSX  147", k=rng.randint(0, 12)))]
    if arguments == "a, b":
        return [rng.randint(-25, 25), rng.randint(-25, 25)]
    return [[rng.randint(-9, rng.randint(0, 15)) for _ in range(rng.randint(0, 9))]]


@pytest.mark.parametrize("arguments", ["xs", "a, b", "s"])
def test_no_other_function_passes_the_tests_of_a_problem(arguments):
    rows = [row for row in ROWS if arguments_of(row) == arguments]
    spaces = [{} for _ in rows]
    for row, space in zip(rows, spaces, strict=True):
        exec(row["provenance"]["solution"], space)
    functions = [space["f"] for space in spaces]
    rng = random.Random(1)
    fresh = [fresh_inputs(rng, arguments) for _ in range(200)]
    for row, right in zip(rows, functions, strict=True):
        outputs = [test["output"] for test in row["tests"]]
        assert any(output != outputs[0] for output in outputs), row["prompt"]
        for other, function in zip(rows, functions, strict=True):
            if all(function(*test["input"]) == test["output"] for test in row["tests"]):
                # Some problems ask for the same in other words.
                assert all(function(*each) == right(*each) for each in fresh), (row["prompt"], other["prompt"])


@pytest.mark.parametrize("arguments", ["xs", "a, b", "s"])
def test_an_expression_written_without_reading_the_question_does_not_pass(arguments):
    easy = {"xs": ["xs", "len(xs)", "sum(xs)", "xs[::-1]"], "a, b": ["a", "b", "a + b"], "s": ["s", "len(s)"]}
    for row in ROWS:
        if arguments_of(row) != arguments:
            continue
        right = eval(f"lambda {arguments}: {row['provenance']['solution'].partition('return ')[2]}")
        for text in easy[arguments]:
            wrong = eval(f"lambda {arguments}: {text}")
            passes = all(wrong(*test["input"]) == test["output"] for test in row["tests"])
            rng = random.Random(2)
            inputs = [fresh_inputs(rng, arguments) for _ in range(200)]
            assert passes == all(wrong(*each) == right(*each) for each in inputs), (row["prompt"], text)


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
