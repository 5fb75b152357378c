"""A right answer pays in the ways in which models write it."""

import pytest
from reasoning_gym.factory import DATASETS, create_dataset

from k15_plugins.rewards import ReasoningGymReward
from k15_plugins.rewards.answer_notation import without_dress
from k15_plugins.rewards.score_reasoning_gym import score
from k15_plugins.tasks.entries import dump_entry

GYM = ReasoningGymReward(timeout_seconds=20)
DRESSES = [
    "**{}**",
    "`{}`",
    "${}$",
    r"\boxed{{{}}}",
    r"$\boxed{{{}}}$",
    "= {}",
    "{}.",
    "**{}.**",
    '"{}"',
    "```\n{}\n```",
]
RESPONSES = [
    "**Answer:** {}",
    "Answer: **{}**",
    "The answer is {}.",
    "Final answer: {}\n",
    r"The answer is \(\boxed{{{}}}\).",
]
SOME_TASKS = [
    *("chain_sum", "countdown", "simple_equations", "number_sequence", "gsm_symbolic", "complex_arithmetic"),
    *("fraction_simplification", "number_sorting", "simple_integration", "polynomial_multiplication", "coin_flip"),
    *("knights_knaves", "quantum_lock", "sokoban", "spell_backward", "time_intervals", "letter_jumble", "lcm"),
]


def problem(task, seed=3, **config):
    entry = create_dataset(task, size=1, seed=seed, **config)[0]
    return entry, dump_entry({**entry, "config": config})


@pytest.mark.parametrize("task", sorted(DATASETS.keys() - {"composite", "sokoban", "intermediate_integration"}))
def test_a_dressed_answer_pays(task):
    entry, dumped = problem(task)
    if entry["answer"]:
        dresses = [dress for dress in DRESSES if not ({*'".'} & {*dress} & {*entry["answer"]})]
        unpaid = [dress for dress in dresses if score(dress.format(entry["answer"].strip()), task, dumped) != 1]
        assert not unpaid


@pytest.mark.parametrize("task", SOME_TASKS)
def test_the_answer_of_a_response_pays(task):
    entry, dumped = problem(task)
    responses = [response.format(entry["answer"].strip()) for response in RESPONSES]
    assert GYM(None, responses, None, task=[task] * 5, entry=[dumped] * 5) == [1.0] * 5


@pytest.mark.parametrize(
    ("task", "right", "metadata", "paid", "unpaid"),
    [
        (
            "simple_equations",
            "61",
            {"variable": "x"},
            ["x = 61", "x=61", "$x = 61$", "61.0", "+61", "61."],
            ["2x = 61", "y = 61", "x = -61", "x = 60 = 61", "x != 61", "x == 61", "61x", "6 1", "61, 62", "61%"],
        ),
        (
            "gsm_symbolic",
            "5485",
            {},
            ["5,485", "$5,485", "5485.00", "+5485", r"\$5485", "$5485.00."],
            ["5,48,5", "54,85", "5485 or 7", "-5485", "5.485", "5 485 1", "not 5485", "$5,485 $7"],
        ),
        ("chain_sum", "-5485", {}, ["-5,485", "−5485", "-5485.0"], ["5,485", "5485", "--5485", "- -5485"]),
        ("lcm", "300", {}, ["300.0", "**300**"], ["3e2x", "300 ** 1", "60*5", "0300x"]),
        (
            "simple_integration",
            "X**3 + C",
            {"variable": "X", "integrand": "3*X**2"},
            ["X^3 + C", "F(X) = X^3 + C", "y = X**3 + C", "$X^3 + C$", "X^3", "X · X · X"],
            ["X^4 + C", "X^3 + C*X", "F(X) = X^2 = X^3", "X^3 or X^2", "X^3, X^2"],
        ),
        (
            "countdown",
            "(85 - 1)*49",
            {"numbers": [85, 1, 49], "target": 4116},
            ["(85 − 1) × 49", r"(85 - 1) \times 49", "49*(85-1).", "$49*(85-1)$", "49*85/1 - 49"][:4],
            [
                "4116",
                "4116e0 + 0e0*(85+1+49)",
                "(85 - 1)*49 + 0",
                "49*(85-1)^1",
                "85*49",
                "49*(85-1) or 7",
                "(85.1)*49",
            ],
        ),
        (
            "prime_factorization",
            "2 × 2 × 3",
            {},
            ["2 * 2 * 3", r"2 \times 2 \times 3", "2x2x3"],
            ["12", "2 * 6", "2*2*3*1"],
        ),
    ],
)
def test_numbers_and_formulas_pay_as_people_write_them(task, right, metadata, paid, unpaid):
    dumped = dump_entry({"question": "?", "answer": right, "metadata": metadata, "config": {}})
    assert [answer for answer in paid if score(answer, task, dumped) != 1] == []
    assert [answer for answer in unpaid if score(answer, task, dumped) >= 1] == []


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("** 214", "214"),
        (r"$\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{1} or \boxed{2}", r"\boxed{1} or \boxed{2}"),
        ("x == 3", "x == 3"),
        ("== 3", "== 3"),
        ("**", "**"),
        (".", "."),
        ("```json\n[1]\n```", "[1]"),
        ('"a" or "b"', '"a" or "b"'),
        ("3.5", "3.5"),
        ("2 ** 3", "2 ** 3"),
    ],
)
def test_only_the_dress_is_taken_off(text, bare):
    assert without_dress(text) == bare


@pytest.mark.parametrize("piece", ["*", "`", "$", "{", r"\boxed{", "=", ".", '"', "```", " ", "** "])
def test_no_text_makes_it_slow(piece):
    without_dress(piece * (20_000 // len(piece)) + "x" + piece * (20_000 // len(piece)))
