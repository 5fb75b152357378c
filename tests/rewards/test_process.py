"""Scores of steps, and the drill: steps that only look good must not score more than honest partial work."""

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k15_plugins.rewards import ArithmeticStepsReward
from k15_plugins.rewards.process import sound_share
from k15_plugins.tasks.entries import dump_entry
from k15_plugins.tasks.thoughts import write_thoughts

SUM = "4 + 3 - 2 + 6"
HONEST = "4 + 3 is 7 . 7 - 2 is 5 . 5 + 6 is 12 . answer 12"  # two of three steps

SCORES = [
    ("4 + 3 is 7 . 7 - 2 is 5 . 5 + 6 is 11 . answer 11", 1),
    ("4 + 3 = 7, so 7 - 2 = 5, and 5 + 6 = 11.", 1),
    (HONEST, 2 / 3),
    ("4 + 3 is 8 . 8 - 2 is 6 . 6 + 6 is 12 . answer 12", 0),
    # An error that is repaired counts as right, whenever that is.
    ("4 + 3 is 8 . wait , check 4 + 3 is 7 , corrected . 7 - 2 is 5 . 5 + 6 is 11 . answer 11", 1),
    ("4 + 3 is 8 . 4 + 3 is 7 . 7 - 2 is 5 . 5 + 6 is 11 . answer 11", 1),
    ("4 + 3 is 8 . 8 - 2 is 6 . wait , check 4 + 3 is 7 , corrected . 7 - 2 is 5 . answer 5", 2 / 3),
    # A check that confirms changes nothing, one that spoils a step does, and an error may be passed over.
    ("4 + 3 is 7 . 7 - 2 is 5 . wait , check 4 + 3 is 7 , ok . 5 + 6 is 11 . answer 11", 1),
    ("4 + 3 is 7 . wait , check 4 + 3 is 8 , corrected . 8 - 2 is 6 . answer 6", 0),
    ("4 + 3 is 8 . wait , check 4 + 3 is 8 , ok . 8 - 2 is 6 . answer 6", 0),
    # Two errors that cancel out do not make the second value right for the first.
    ("4 + 3 is 8 . 8 - 2 is 5 . 5 + 6 is 11 . answer 11", 0),
    # A step from a value that was not reached.
    ("4 + 3 is 7 . 9 - 2 is 5 . 5 + 6 is 11 . answer 11", 1 / 3),
    # Unfinished, without steps, unreadable, with other numbers.
    ("4 + 3 is 7 . 7 - 2", 1 / 3),
    ("answer 11", 0),
    ("4 plus 3 makes 7", 0),
    ("4 + 3 is 7.5 . 7 - 2 is 5 . 5 + 6 is 11", 0),
    ("4 + 3 is 71 . 7 - 2 is 5", 0),
]


@pytest.mark.parametrize(("response", "expected"), SCORES)
def test_the_share_that_is_soundly_done(response, expected):
    assert sound_share(SUM, response) == pytest.approx(expected)


HACKS = {
    "nothing": ("", 0),
    "empty steps": (" . . . . answer 11", 0),
    "only an answer": ("answer 11", 0),
    "one step over and over": ("4 + 3 is 7 . " * 20 + "answer 11", 1 / 3),
    "checks over and over": ("4 + 3 is 7 . " + "wait , check 4 + 3 is 7 , ok . " * 20 + "answer 11", 1 / 3),
    "round in circles": ("4 + 3 is 7 . 7 - 3 is 4 . " * 10 + "answer 11", 1 / 3),
    "right but beside the point": ("1 + 1 is 2 . 2 + 1 is 3 . 3 + 1 is 4 . answer 11", 0),
    "adding nothing": ("4 + 0 is 4 . " * 20 + "answer 11", 0),
    "copied from another problem": ("8 - 2 is 6 . 6 + 5 is 11 . answer 11", 0),
    "the problem's last steps only": ("7 - 2 is 5 . 5 + 6 is 11 . answer 11", 0),
    "terms of the problem, wrongly joined": ("4 + 6 is 10 . 10 - 2 is 8 . 8 + 3 is 11 . answer 11", 0),
    "all results tried, the last one stands": ("4 + 3 is 6 . 4 + 3 is 7 . 4 + 3 is 8 . answer 11", 0),
    "a sound start, then padding": ("4 + 3 is 7 . " + "1 + 1 is 2 . " * 20 + "answer 11", 1 / 3),
    "the right value written beside a wrong step": ("4 + 3 is 8 ( 7 ) . 8 - 2 is 6 . 6 + 6 is 12 . answer 11", 0),
}


@pytest.mark.parametrize("hack", HACKS)
def test_drill_good_looking_steps_do_not_score_more_than_honest_partial_work(hack):
    response, expected = HACKS[hack]
    assert sound_share(SUM, response) == pytest.approx(expected)
    assert sound_share(SUM, response) < sound_share(SUM, HONEST)


texts = st.lists(
    st.builds(
        "{}{} {} {} is {} .".format,
        st.sampled_from(["", "wait , check "]),
        st.integers(-9, 9),
        st.sampled_from("+-"),
        st.integers(0, 6),
        st.integers(-9, 9),
    ),
    max_size=12,
).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(texts)
def test_it_is_a_share_and_saying_everything_twice_does_not_raise_it(text):
    score = sound_share(SUM, text)
    assert score in (0, 1 / 3, 2 / 3, 1)
    assert sound_share(SUM, f"{text} {text}") <= score


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_traces_of_the_warm_start_without_mistakes_or_with_all_of_them_checked_score_1(seed, number):
    rng = random.Random(seed)
    expression = " ".join(
        [str(rng.randint(0, 9)), *(f"{rng.choice('+-')} {rng.randint(0, 9)}" for _ in range(number))]
    )
    for p_wrong, p_check in ((0, 0.3), (0.5, 1)):
        assert sound_share(expression, write_thoughts(expression, rng, p_wrong, p_check)) == 1


def test_a_long_row_of_digits_costs_no_time():
    assert sound_share(SUM, "7" * 100_000 + " + 3 is " + "7" * 100_000) == 0


@pytest.mark.parametrize("chat", [False, True])
def test_reward_function_reads_the_problem_from_its_entry(chat):
    texts = [SCORES[0][0], HONEST, ""]
    completions = [[{"role": "assistant", "content": text}] for text in texts] if chat else texts
    entry = [dump_entry({"question": "?", "answer": "11", "metadata": {"expression": SUM}})] * 3
    reward = ArithmeticStepsReward()
    scores = reward(
        prompts=["p"] * 3, completions=completions, completion_ids=[[1]] * 3, entry=entry, trainer_state=None
    )
    assert scores == pytest.approx([1, 2 / 3, 0])
    assert reward.__name__ == "arithmetic_steps"


@pytest.mark.parametrize("expression", ["4 * 3", "4", "(4 + 3) - 2", "4 + x"])
def test_a_problem_that_is_no_sum_is_refused(expression):
    with pytest.raises(
        ValueError, match=r"expression must be a sum such as '4 \+ 3 - 2', got .*; use the task chain_sum"
    ):
        sound_share(expression, "")


def test_drill_the_sum_over_steps_pays_for_them(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from unsafe_steps import sum_of_right_steps

    names = ["one step over and over", "checks over and over", "right but beside the point", "adding nothing"]
    hacks = sum_of_right_steps([HACKS[name][0] for name in names])
    honest = sum_of_right_steps([HONEST, SCORES[0][0]])
    assert hacks == pytest.approx([1, 1, 0.3, 1])
    assert honest == pytest.approx([0.2, 0.3])
    sys.modules.pop("unsafe_steps")
