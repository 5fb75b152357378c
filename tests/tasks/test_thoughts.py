import random

import pytest

from k15_plugins.tasks.entries import dump_entry
from k15_plugins.tasks.thoughts import count_steps, final_answer, thought_rows, write_thoughts


def problem(expression: str) -> dict:
    return {"prompt": f"{expression} =", "entry": dump_entry({"metadata": {"expression": expression}})}


def test_without_mistakes_every_step_is_right_and_the_answer_is_the_sum():
    assert write_thoughts("4 + 3 - 9", random.Random(0), p_wrong=0.0, p_check=0.0) == (
        "4 + 3 is 7 . 7 - 9 is -2 . answer -2"
    )


def test_a_check_confirms_a_right_step():
    assert write_thoughts("4 + 3", random.Random(0), p_wrong=0.0, p_check=1.0) == (
        "4 + 3 is 7 . wait , check 4 + 3 is 7 , ok . answer 7"
    )


def test_a_check_corrects_every_wrong_step_so_the_answer_is_right():
    rng = random.Random(1)
    for _ in range(50):
        trace = write_thoughts("4 + 3 - 9 + 2", rng, p_wrong=1.0, p_check=1.0)
        assert trace.count("corrected") == 3
        assert " ok " not in trace
        assert final_answer(trace) == "0"


def test_an_unchecked_mistake_is_near_and_carried_to_the_answer():
    rng = random.Random(2)
    errors = {int(final_answer(write_thoughts("4 + 3", rng, p_wrong=1.0, p_check=0.0))) - 7 for _ in range(200)}
    assert errors == {-3, -2, -1, 1, 2, 3}


def test_shares_of_wrong_and_checked_steps_are_as_asked():
    rng = random.Random(3)
    counts = count_steps(write_thoughts("4 + 3 - 9 + 2 - 1", rng, p_wrong=0.4, p_check=0.3) for _ in range(2000))
    assert counts.steps == 8000
    assert counts.wrong_steps / counts.steps == pytest.approx(0.4, abs=0.02)
    assert counts.checks / counts.steps == pytest.approx(0.3, abs=0.02)
    assert counts.wrong_checks == 0


def test_mistakes_never_leave_the_range_of_the_tokens():
    rng = random.Random(4)
    words = " ".join(write_thoughts("9 + 9 + 9 + 9 + 9 + 9", rng, p_wrong=1.0, p_check=0.1) for _ in range(500))
    numbers = [int(word) for word in words.split() if word.lstrip("-").isdigit()]
    assert max(numbers) == 60


@pytest.mark.parametrize("expression", ["", "4 * 3", "4+3", "50 + 30"])
def test_an_expression_that_cannot_be_worked_out_is_refused(expression):
    with pytest.raises(ValueError, match="expression"):
        write_thoughts(expression, random.Random(0), p_wrong=0.0, p_check=0.0)


def test_rows_go_round_the_problems_with_a_new_trace_each_time_and_follow_the_seed():
    problems = [problem("4 + 3 - 2 + 5"), problem("1 - 9 + 2 + 6")]
    rows = list(thought_rows(problems, p_wrong=0.5, p_check=0.5, clean_share=0.0, seed=5, size=20))
    assert [row["prompt"] for row in rows].count("4 + 3 - 2 + 5 =") == 10
    assert len({row["completion"] for row in rows}) > 15
    assert all(row["completion"].startswith(" ") for row in rows)
    assert rows == list(thought_rows(problems, p_wrong=0.5, p_check=0.5, clean_share=0.0, seed=5, size=20))
    assert rows != list(thought_rows(problems, p_wrong=0.5, p_check=0.5, clean_share=0.0, seed=6, size=20))


def test_rows_for_messages_complete_them_by_a_message():
    prompt = [{"role": "user", "content": "What is 4 + 3 - 2?"}]
    options = {"p_wrong": 0.0, "p_check": 0.0, "clean_share": 0.0, "seed": 5, "size": 1}
    (row,) = thought_rows([problem("4 + 3 - 2") | {"prompt": prompt}], **options)
    assert row["prompt"] == prompt
    assert row["completion"] == [{"role": "assistant", "content": "4 + 3 is 7 . 7 - 2 is 5 . answer 5"}]


def test_the_first_rows_are_clean():
    rows = list(thought_rows([problem("4 + 3 - 2")], p_wrong=1.0, p_check=0.5, clean_share=0.3, seed=5, size=20))
    wrong = [count_steps([row["completion"]]).wrong_steps for row in rows]
    assert wrong == [0] * 6 + [2] * 14


@pytest.mark.parametrize(
    ("response", "answer"),
    [("7 - 2 is 5 . answer 5", "5"), ("answer -4 ", "-4"), ("answer 5 . 7 - 2", None), ("answer", None), ("", None)],
)
def test_the_final_answer_stands_at_the_very_end(response, answer):
    assert final_answer(response) == answer


def test_wrong_steps_and_wrong_checks_are_told_apart():
    counts = count_steps(["4 + 3 is 8 . wait , check 4 + 3 is 6 , corrected . 6 - 2 is 4 . answer 4"])
    assert (counts.steps, counts.wrong_steps, counts.checks, counts.wrong_checks) == (2, 1, 1, 1)
