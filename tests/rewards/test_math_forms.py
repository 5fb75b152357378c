"""`MathReward` against published scorers, on forms of answers as GSM8K, MATH, AIME and minerva have them.

A form of the kind "attack" is an answer that a policy may try: alternatives, sums, chains of equalities, code. The
verdicts were written by `published_scorers.py`; where ours differs from math-verify's, the form says why.
"""

import pytest
from published_scorers import math_verify_and_trl, read_forms

from k15_plugins.rewards import MathReward

FORMS = read_forms()
ANSWERS = [form for form in FORMS if form["kind"] == "answer"]


@pytest.mark.parametrize(("strict", "mode"), [(True, "training"), (False, "evaluation")])
def test_every_form_has_its_verdict(strict, mode):
    failures = []
    values = MathReward(timeout_seconds=20, strict=strict)(
        prompts=None,
        completions=[form["response"] for form in FORMS],
        completion_ids=None,
        answer=[form["gold"] for form in FORMS],
        log_metric=lambda _, value: failures.append(value),
    )
    wrong = [(form, value) for form, value in zip(FORMS, values, strict=True) if form[mode] != value]
    assert (wrong, failures) == ([], [0.0])


def test_the_published_verdicts_are_those_of_the_installed_scorers():
    forms = FORMS[::3]  # all of them take three times as long
    assert [form | math_verify_and_trl(form["response"], form["gold"]) for form in forms] == forms


def test_every_deviation_is_named_and_none_refuses_a_right_answer_in_evaluation():
    assert len(ANSWERS) >= 400
    for form in FORMS:
        deviates = {form["training"], form["evaluation"]} != {form["math_verify"]}
        assert ("reason" in form) == deviates, form
    refused = [form["reason"] for form in ANSWERS if form["math_verify"] > form["evaluation"]]
    assert refused == ["5 million is not 5; math-verify takes the word for a unit."]
    # What math-verify reads wrongly or not at all, each with its reason.
    assert sum(form["math_verify"] < form["evaluation"] for form in ANSWERS) <= 0.06 * len(ANSWERS)


def test_an_attack_pays_less_than_with_any_published_scorer_of_values():
    paid = {name: sum(form[name] for form in FORMS if form["kind"] == "attack") for name in FORMS[0] if name in NAMES}
    assert paid["training"] < 0.2 * min(paid["math_verify"], paid["trl"])
    assert paid["evaluation"] < min(paid["math_verify"], paid["trl"])


NAMES = ("math_verify", "trl", "training", "evaluation")
