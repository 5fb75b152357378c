"""What math-verify and units let through, and what they refuse wrongly; the table of forms has the usual ones."""

import pytest

from k15_plugins.rewards.score_math import score

NO_UNITS = [
    *("million", "hundred", "squared", "halves", "half", "negative", "thousand", "dozen", "is wrong", "factorial"),
    *("doubled", "less", "below zero", "minus", "tenths", "tens", "score", "plus one", "or so", "not", "(negative)"),
    *("dividedby three", "and a half", "if wrong", "if not 13", "times two", "per cent or less"),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("word", NO_UNITS)
def test_a_word_that_changes_or_doubts_a_number_is_no_unit(word, strict):
    answers = [f"12 {word}", rf"12 \text{{ {word}}}", rf"12\ \mathrm{{{word}}}", f"n = 12 {word}"]
    assert [score(answer, "12", strict) for answer in answers] == [0.0] * 4


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("14:00", "14:00"),
        ("12:00", "12:00"),
        ("3:0", "3:0"),
        ("1200000", "1.2 million"),
        ("1200000", r"1.2 \text{ million dollars}"),
        ("12 thousand", "12000"),
        ("24", "2 dozen"),
        ("12", "12 feet squared"),
        ("12", "12 quarters"),
        ("12", "12 seconds"),
        ("12", "12 eggs per day"),
        ("x^2+y^2=4", "x^2+y^2-4=0"),
        ("x^2+y^2-4=0", "x^2+y^2=4"),
        ("5", "a=b=5"),
        ("5", "x=5"),
        ("5", "x_1 = 5"),
        ("5", "f(2) = 5"),
        ("5", "m+n = 5"),
        ("5", r"\frac{m}{n} = 5"),
        ("x=5", "x=5"),
        ("x=5", "5"),
        ("5", "3 + 2 = 5"),
        ("5", r"5 \text{ apples and oranges}"),
        ("5", r"\pounds 5"),
        ("5", "Rs. 5"),
        ("5", r"\text{Rs. }5"),
        ("12", r"\sim 12"),
        (r"-\frac{3}{4}", r"-\left(\frac{3}{4}\right)"),
        ("0.333", r"0.333\ldots"),
        ("5", r"\text{\$}5"),
    ],
)
def test_right(gold, answer, strict):
    assert score(answer, gold, strict) == 1


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("14:00", "2"),
        ("14:00", "14:30"),
        ("1.2", "1.2 million"),
        ("5", "2x=5"),
        ("5", "x^2=5"),
        ("5", "x+3=5"),
        ("5", r"\sqrt{x}=5"),
        ("5", "-x=6"),
        ("x=5", "2x=5"),
        ("x=5", "y=5"),
        ("x=1", "x^2=1"),
        ("x^2+y^2=4", "x^2+y^2=5"),
        ("x^2+y^2=4", "x^2+y^2-5=0"),
        ("5", "a=6=5"),
        ("5", r"5 \text{ apples and 6 oranges}"),
        ("5", r"5 \text{ apples and six oranges}"),
        (r"-\frac{3}{4}", r"-\left(-\frac{3}{4}\right)"),
        (r"\pi", r"x^2=\pi"),
    ],
)
def test_wrong(gold, answer, strict):
    assert score(answer, gold, strict) == 0
