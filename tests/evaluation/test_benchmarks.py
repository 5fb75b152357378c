"""Benchmarks from local files of the Hub's columns."""

import json

import pytest

from k15_plugins import MathReward
from k15_plugins.evaluation.benchmarks import BENCHMARKS, load_benchmark

ROWS = {
    "aime_2024": {"id": 60, "problem": "How much is $5+4$?", "solution": "...", "answer": "9", "year": "2024"},
    "aime_2025": {"problem": "How much is $5+4$?", "answer": "9", "id": "0"},
    "math_500": {"problem": "Halve $1$.", "answer": "\\frac{1}{2}", "subject": "Algebra", "level": 3},
    "gsm8k": {"question": "Five and four?", "answer": "5 + 4 = <<5+4=9>>9\n#### 9"},
    "gpqa_diamond": {
        "Question": "Which?",
        "Correct Answer": "this\n",
        "Incorrect Answer 1": "that",
        "Incorrect Answer 2": "these",
        "Incorrect Answer 3": "those",
    },
}


def local(tmp_path, *rows):
    file = tmp_path / "benchmark.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_local_file_and_the_right_answer(name, tmp_path):
    problems = load_benchmark(name, local(tmp_path, ROWS[name]))
    (row,) = problems.held_out
    assert len(problems.train) == 0
    assert row["task"] == name
    assert row["level"] == ROWS[name].get("level", 0)
    text = row["prompt"][0]["content"]
    assert ROWS[name][BENCHMARKS[name].problem] in text
    assert "\\boxed{}" in text
    reward = MathReward()
    wrong = "Z" if BENCHMARKS[name].wrong else "77"
    answers = [f"So it is \\boxed{{{answer}}}." for answer in (row["answer"], wrong)]
    assert reward([row["prompt"]] * 2, answers, None, answer=[row["answer"]] * 2) == [1.0, 0.0]


def test_choices_stand_in_a_fixed_order_and_the_letter_is_right(tmp_path):
    rows = [ROWS["gpqa_diamond"] | {"Question": f"Which of {number}?"} for number in range(40)]
    file = local(tmp_path, *rows)
    first, again, other = (load_benchmark("gpqa_diamond", file, seed=seed).held_out for seed in (0, 0, 1))
    assert list(first["prompt"]) == list(again["prompt"]) != list(other["prompt"])
    assert {*first["answer"]} == set("ABCD")
    for row in first:
        assert f"{row['answer']}. this\n" in row["prompt"][0]["content"]
    # The order belongs to the question, not to its place in the file.
    turned = load_benchmark("gpqa_diamond", local(tmp_path, *rows[::-1])).held_out
    assert list(turned["answer"])[::-1] == list(first["answer"])


def test_what_cannot_be_loaded_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"name must be a benchmark, got 'math500' \(did you mean 'math_500'\?\)"):
        load_benchmark("math500")
    with pytest.raises(ValueError, match=r"task\.path=nowhere does not exist; give a JSONL file with the columns of"):
        load_benchmark("math_500", "nowhere")
    good = ROWS["math_500"]
    for row, told in (
        ({"problem": "p", "answer": "a"}, "has no column 'level'; it has problem, answer"),
        (good | {"answer": None}, ": answer must not be empty, got None"),
        (good | {"problem": " "}, ": problem must not be empty, got ' '"),
        (good | {"level": "hard"}, ": level must be a whole number, got 'hard'"),
    ):
        with pytest.raises(ValueError, match=rf"benchmark\.jsonl, line 2:? ?{told.removeprefix(': ')}"):
            load_benchmark("math_500", local(tmp_path, good, row))
    gsm8k, gpqa = ROWS["gsm8k"], ROWS["gpqa_diamond"]
    with pytest.raises(
        ValueError, match=r"line 1: answer must have the answer after '####', got '9'; correct the row"
    ):
        load_benchmark("gsm8k", local(tmp_path, gsm8k | {"answer": "9"}))
    with pytest.raises(ValueError, match=r"line 1: the choices must differ, got \['this', 'that', 'this', 'those'\]"):
        load_benchmark("gpqa_diamond", local(tmp_path, gpqa | {"Incorrect Answer 2": "this "}))
    with pytest.raises(ValueError, match="must hold at least one problem, got none"):
        load_benchmark("math_500", local(tmp_path))


def test_some_are_held_out_whatever_the_order_of_choices(tmp_path):
    rows = [ROWS["gpqa_diamond"] | {"Question": f"Which of {number}?"} for number in range(40)]
    file = local(tmp_path, *rows)
    sides = [load_benchmark("gpqa_diamond", file, held_out=0.3, seed=seed) for seed in (0, 1)]
    assert 3 < len(sides[0].held_out) < 25
    assert len(sides[0].train) + len(sides[0].held_out) == 40
    asked = [[row["prompt"][0]["content"].partition("\n")[0] for row in each.held_out] for each in sides]
    assert asked[0] == asked[1]


def test_a_question_that_is_asked_twice_is_on_one_side(tmp_path):
    rows = [{"problem": f"How much is {n} + 1?", "answer": str(n + k)} for n in range(40) for k in (1, 2, 1)]
    problems = load_benchmark("aime_2025", local(tmp_path, *rows), held_out=0.3)
    sides = [{row["prompt"][0]["content"] for row in side} for side in problems]
    assert not sides[0] & sides[1]
    assert len(sides[0]) + len(sides[1]) == 40
    # Both answers are kept, and what is there twice is there once.
    assert len(problems.train) + len(problems.held_out) == 80


def test_signs_that_some_take_for_line_ends_are_kept(tmp_path):
    signs = "How\u2028much\u2029is\x85$5+4$?"
    file = tmp_path / "benchmark.jsonl"
    file.write_text(json.dumps(ROWS["aime_2024"] | {"problem": signs}, ensure_ascii=False) + "\n", encoding="utf-8")
    (row,) = load_benchmark("aime_2024", str(file)).held_out
    assert signs in row["prompt"][0]["content"]
