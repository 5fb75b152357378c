"""Final rewards, called as TRL calls them."""

import inspect
import logging
import pickle

import pytest
from hostile import malformed, payloads

from k15_plugins.rewards import ExactMatchReward, MathReward, ReasoningGymReward
from k15_plugins.tasks.entries import dump_entry

MATH = MathReward(timeout_seconds=20)
GYM = ReasoningGymReward(timeout_seconds=20)


def call(reward, completions, **columns):
    """Call as GRPOTrainer does, with all its keywords."""
    metrics = []
    values = reward(
        prompts=["p"] * len(completions),
        completions=completions,
        completion_ids=[[1]] * len(completions),
        **columns,
        trainer_state=None,
        log_extra=None,
        log_metric=lambda name, value: metrics.append((name, value)),
    )
    return values, metrics


def entry(question, answer, metadata=None, config=None):
    return dump_entry({"question": question, "answer": answer, "metadata": metadata or {}, "config": config or {}})


@pytest.mark.parametrize("chat", [False, True])
def test_exact_match(chat):
    completions = ["answer 12", "answer  a\nb", "answer 12.", "12", "answer 12 13"]
    if chat:
        completions = [[{"role": "assistant", "content": text}] for text in completions]
    values, _ = call(ExactMatchReward(), completions, answer=["12", "a b", "12", "12", "12"])
    assert values == [1.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("chat", [False, True])
def test_reasoning_gym_scores_with_its_own_scorer(chat):
    completions = ["3 + 4 = 7 answer 7", "answer 7.0", "answer 8", "7", "answer 7 8", "answer 7 answer 8"]
    if chat:
        completions = [[{"role": "assistant", "content": text}] for text in completions]
    values, metrics = call(
        GYM, completions, task=["chain_sum"] * 6, entry=[entry("3 + 4", "7")] * 6, answer=["7"] * 6, level=[0] * 6
    )
    assert values == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert metrics == [("k15/verifier_failures", 0.0)]


def test_partial_credit_is_thresholded():
    long = "a" * 200
    columns = {"task": ["letter_jumble"], "entry": [entry("?", f"one two three {long}")]}
    assert call(GYM, [f"answer one two x {long}"], **columns)[0] == [0.0]
    assert call(ReasoningGymReward(threshold=0.5, timeout_seconds=20), [f"answer one two x {long}"], **columns)[0] == [
        1
    ]


def test_a_scorer_has_the_settings_of_its_problem():
    one_place = {"min_num_decimal_places": 1, "max_num_decimal_places": 1}
    entries = [entry("?", "0.54321", {}, one_place), entry("?", "0.54321"), entry("?", "0.5", {}, one_place)]
    columns = {"task": ["decimal_arithmetic"] * 3, "entry": entries}
    assert call(GYM, ["answer 0.5432", "answer 0.54", "answer 0.6"], **columns)[0] == [1.0, 0.0, 0.0]


def test_gaps_of_scorers_do_not_pay():
    problems = [
        ("coin_flip", "0.5", "0", "1/2", {}),
        ("game_of_life_halting", "True", "False", "true", {}),
        ("puzzle24", "", "5*5 - 1/5", "(5 - 1/5)*5", {"numbers": [5, 5, 5, 1]}),
        ("complex_arithmetic", "1.0 + 2.0i", "nan", "1 + 2i", {"result": (1.0, 2.0)}),
        ("number_sorting", "['1', '2']", "['1.9', '2.9']", "['1', '2.0']", {"direction": "ascending"}),
        ("number_sorting", "['1', '2']", "[NaN, NaN]", "[1, 2]", {"direction": "ascending"}),
        ("coin_flip", "3.051757812e-05", "0", "1/32768", {}),
        ("calendar_arithmetic", "-1", "99", "-1", {"task": "recurring_event_day"}),
        (
            "propositional_logic",
            "",
            "(P ∨ x)",
            "(P ∧ Q)",
            {"premises": ["P", "Q"], "variables": ["P", "Q"]},
        ),
        ("puzzle24", "", "6 * 4 * 1 * 1", "(9 - 5) * (8 - 2)", {"numbers": [5, 8, 9, 2]}),
        ("spiral_matrix", "1 2", "[1, 2]", "1 2", {}),
    ]
    tasks = [task for task, *_ in problems]
    entries = [entry("?", gold, metadata) for _, gold, _, _, metadata in problems]
    assert call(GYM, [f"answer {wrong}" for _, _, wrong, _, _ in problems], task=tasks, entry=entries)[0] == [0.0] * 11
    assert call(GYM, [f"answer {right}" for _, _, _, right, _ in problems], task=tasks, entry=entries)[0] == [1.0] * 11


def test_no_scorer_runs_an_answer_as_code(tmp_path):
    code = f"[[__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()]]"
    tasks = ["string_insertion", "spiral_matrix", "binary_matrix", "n_queens"]
    values, _ = call(
        GYM, [f"answer {code}"] * 4, task=tasks, entry=[entry("?", "1", {"valid_answers": ["1"], "solution": []})] * 4
    )
    assert values == [0.0] * 4
    assert not (tmp_path / "ran").exists()


def test_a_failing_scorer_costs_its_sample_and_is_counted_and_logged(caplog):
    with caplog.at_level(logging.WARNING):
        values, metrics = call(
            GYM, ["answer 7", "no reply", "answer 7"], task=["chain_sum"] * 3, entry=["{broken", "", entry("?", "7")]
        )
    assert values == [0.0, 0.0, 1.0]
    assert metrics == [("k15/verifier_failures", 1.0)]
    (record,) = caplog.records
    assert "1 of 3 answers could not be verified" in record.getMessage()
    assert "JSONDecodeError" in record.getMessage()


@pytest.mark.parametrize(
    ("gold", "given", "right"),
    [
        (r"\frac{1}{2}", "0.5", True),
        (r"\frac{3}{4}", r"\dfrac{3}{4}", True),
        ("3/2", r"1\frac{1}{2}", True),
        ("5", r"5\text{ cm}", True),
        ("5 cm", "5", True),
        ("1500", r"1.5 \times 10^{3}", True),
        ("1000", "1,000", True),
        ("12", "x = 12", True),
        ("-3", "-3", True),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        ("x^2 + 2x + 1", "(x+1)^2", True),
        ("$(1, 2)$", "(1,2)", True),
        (r"\boxed{3}", "3", True),
        ("B", "B", True),
        (r"\frac{1}{2}", "0.4", False),
        ("5", "6", False),
        ("5", "-5", False),
        ("12", "11, 12", False),
        ("12", "11 or 12", False),
        ("12", r"\{11, 12\}", False),
        ("12", "12 13", False),
        ("B", "C", False),
        # To repeat the sum is no answer.
        ("7", "3 + 4", False),
        ("12", r"3 \cdot 4", False),
        ("81", "3^4", False),
        ("120", "5!", False),
        ("2", r"\sqrt{4}", False),
        ("3", r"\lfloor 3.2 \rfloor", False),
        ("7", r"\frac{14}{2}", False),
        (r"\frac{3}{4}", r"\frac{6}{8}", False),
        (r"\frac{x^3}{3}", r"\int x^2 dx", False),
        ("2x", r"\frac{d}{dx} x^2", False),
        # Neither are alternatives, or an equation whose sides differ.
        ("7", r"1 \lor 2 \lor 3 \lor 4 \lor 5 \lor 6 \lor 7", False),
        ("6", "5=6", False),
        ("6", r"6 \text{ or 5}", False),
        ("6", "6.", True),
        ("6", "6 dollars", True),
        ("50", r"50\%", True),
        ("12", "3 + 9 = 12", True),
        ("12", "m + n = 12", True),
    ],
)
def test_math(gold, given, right):
    values, metrics = call(MATH, [rf"so it is $\boxed{{{given}}}$."], answer=[gold])
    assert values == [float(right)]
    assert metrics == [("k15/verifier_failures", 0.0)]


def test_math_takes_the_final_box_only():
    completions = [r"\boxed{5} no, \boxed{6}", r"\boxed{6} no, \boxed{5}", r"\boxed{5} dollars every day.", "5"]
    assert call(MATH, completions, answer=["5"] * 4)[0] == [0.0, 1.0, 1.0, 0.0]


def test_math_finds_the_answer_by_a_pattern():
    completions = ["3 + 4 = 7\n#### 7", "#### 7 dollars", "#### 8", r"\boxed{7}"]
    for strict in (True, False):
        reward = MathReward(r"####\s*(.+)", timeout_seconds=20, strict=strict)
        assert call(reward, completions, answer=["7"] * 4)[0] == [1.0, 1.0, 0.0, float(not strict)]


def test_evaluation_counts_the_value_and_looks_for_an_answer_without_a_box():
    completions = [r"\boxed{3 + 4}", "The answer is $7$.", "", r"\boxed{5=7}", r"The answer is $7$, so \boxed{8}."]
    assert call(MATH, completions, answer=["7"] * 5)[0] == [0.0] * 5
    values, metrics = call(MathReward(strict=False), completions, answer=["7"] * 5)
    assert (values, metrics) == ([1.0, 1.0, 0.0, 0.0, 0.0], [("k15/verifier_failures", 0.0)])


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^{9^9}}",
        "10^{10^{10}}",
        "(10^{9})!",
        "(" * 300 + "7" + ")" * 300,
        r"\frac{1}{" * 90 + "7" + "}" * 90,
        r"\int_0^1 \frac{4}{1+x^2} dx",
        "1+" * 400 + "1",
        "9" * 5000,
        "7 " + "a" * 900 + " 8",
        "9^{9^{9^9}} = 8",
        "7" + " dollars" * 100 + " 8",
    ],
)
def test_what_is_no_number_costs_no_time_in_training(answer):
    assert call(MATH, [rf"\boxed{{{answer}}}"], answer=["7"]) == ([0.0], [("k15/verifier_failures", 0.0)])


def test_math_runs_no_answer_as_code(tmp_path):
    code = f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()"
    forms = ["{}", r"\text{{{}}}", "7 if {} else 7", "(lambda: {})()", "x = {}", "{}, 7", r"\frac{{{}}}{{1}}", "S({})"]
    answers = [form.format(code) for form in forms]
    completions = [rf"\boxed{{{answer}}}" for answer in answers] + answers + [f"The answer is ${a}$" for a in answers]
    for reward in (MATH, MathReward(timeout_seconds=20, strict=False)):
        for gold in ("8", "x^2"):
            assert call(reward, completions, answer=[gold] * len(completions))[0] == [0.0] * len(completions)
    assert not (tmp_path / "ran").exists()


def test_math_that_takes_for_ever_costs_its_sample():
    reward = MathReward(timeout_seconds=2, strict=False)
    right = (r"\boxed{\pi}", r"\pi")
    texts, gold = zip(right, (r"\boxed{(10^{9})!}", r"\pi"), right, strict=True)
    assert call(reward, texts, answer=gold) == ([1.0, 0.0, 1.0], [("k15/verifier_failures", 1.0)])


def test_a_right_answer_that_cannot_be_read_is_a_failure(caplog):
    values, metrics = call(MATH, [r"\boxed{5}"], answer=[""])
    assert (values, metrics) == ([0.0], [("k15/verifier_failures", 1.0)])
    assert "the right answer '' cannot be read" in caplog.text


@pytest.mark.parametrize("reward", [ExactMatchReward(), MathReward(), ReasoningGymReward()])
def test_trl_can_name_and_pickle_a_reward(reward):
    assert reward.__name__.isidentifier()
    assert pickle.loads(pickle.dumps(reward)).__name__ == reward.__name__
    assert not inspect.iscoroutinefunction(reward.__call__)


def test_a_threshold_above_full_marks_is_refused():
    with pytest.raises(ValueError, match=r"threshold must be above 0 and at most 1, .*, got 1\.5"):
        ReasoningGymReward(threshold=1.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExactMatchReward(None), "answer_pattern must be text, got None"),
        (lambda: ExactMatchReward(5), "answer_pattern must be text, got 5"),
        (lambda: MathReward(strict="no"), "strict must be true or false, got 'no'"),
        (lambda: MathReward(timeout_seconds="5"), "timeout_seconds='5' must be a number"),
        (lambda: MathReward(timeout_seconds=float("inf")), "timeout_seconds=inf must be above 0 and at most 3600"),
        (lambda: MathReward(timeout_seconds=1e9), "timeout_seconds=1000000000.0 must be above 0 and at most 3600"),
        (lambda: MathReward(timeout_seconds=float("nan")), "timeout_seconds=nan must be above 0"),
        (lambda: ReasoningGymReward(timeout_seconds=True), "timeout_seconds=True must be a number"),
        (lambda: ReasoningGymReward(threshold="1"), "threshold must be a number above 0 and at most 1, got '1'"),
        (lambda: ReasoningGymReward(threshold=float("nan")), "threshold must be above 0 .*, got nan"),
    ],
)
def test_a_wrong_setting_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_are_right_answers_too():
    assert call(ExactMatchReward(), ["answer 1", "answer 2", "answer 2.5"], answer=[1, 1, 2.5])[0] == [1.0, 0.0, 1.0]
    assert call(MATH, [r"\boxed{1}", r"\boxed{2}", r"\boxed{2.5}"], answer=[1, 1, 2.5])[0] == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("reward", [ExactMatchReward(), MATH])
def test_a_right_answer_that_is_neither_text_nor_number_is_refused(reward):
    with pytest.raises(ValueError, match="answer must hold text or numbers, got None; correct the column"):
        call(reward, ["answer 1"], answer=[None])


def test_a_full_stop_is_no_part_of_the_answer():
    values, _ = call(ExactMatchReward(), ["the answer is 12.", "Answer: 12.5", "Answer: 1.2"], answer=["12"] * 3)
    assert values == [1.0, 0.0, 0.0]


def test_no_answer_to_mathematics_is_run_or_changes_a_later_verdict(tmp_path):
    canary = str(tmp_path / "ran")
    take_over = "import k15_plugins.rewards.score_math as m; m._is_equal = m._equal = lambda *a: True"
    attacks = [*payloads(f"open({canary!r}, 'w'); {take_over}", canary), *malformed(canary)]
    golds = ["7", r"\frac{x^2}{2} + C", r"\{1, 2\}", "B"]
    honest = [rf"\boxed{{{gold}}}" for gold in golds] + [r"\boxed{8}"] * len(golds)
    for reward, form in (
        (MATH, r"\boxed{{{}}}"),
        (MathReward(strict=False), "The answer is ${}$."),
    ):
        expected = [1.0] * len(golds) + [0.0] * len(golds)
        assert call(reward, honest, answer=golds * 2)[0] == expected
        hostile = [(form.format(attack), gold) for gold in golds[:2] for attack in attacks]
        values, _ = call(reward, [text for text, _ in hostile], answer=[gold for _, gold in hostile])
        assert sum(values) == 0
        assert call(reward, honest, answer=golds * 2)[0] == expected
    assert not list(tmp_path.iterdir())
