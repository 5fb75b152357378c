"""Balanced pairs of judged responses."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k15_plugins.curation.judgements import OPENERS, Dropped, Judgement, Pair, Reason, Rules, balance

QUESTIONS = [f"question {number}" for number in range(12)]


def judged(response: str, correct: bool, question: str = "q", reference: str = "5") -> Judgement:
    return Judgement(question, reference, response, correct)


JUDGEMENTS = st.lists(
    st.builds(
        Judgement,
        question=st.sampled_from(QUESTIONS),
        reference=st.sampled_from(["5", "7"]),
        response=st.text(alphabet="aA5 .+", max_size=6),
        correct=st.booleans(),
    ),
    max_size=60,
)
RULES = st.builds(
    Rules,
    pairs_per_problem=st.integers(1, 3),
    opener_share=st.sampled_from([0.0, 0.5, 0.9]),
    held_out=st.sampled_from([0.1, 0.9]),
    held_out_pairs=st.integers(1, 3),
)


@given(JUDGEMENTS, RULES, st.integers(0, 3))
def test_pairs_are_balanced_and_apart_and_nothing_is_lost(judgements, rules, seed):
    found = balance(judgements, rules, seed)
    pairs = [*found.train, *found.held_out]
    for pair in pairs:
        assert pair.right.correct
        assert not pair.wrong.correct
        assert (pair.right.question, pair.right.reference) == (pair.wrong.question, pair.wrong.reference)
        assert pair.right.kind == "sampled"
    # No question is on both sides, whatever its reference.
    assert not {pair.right.question for pair in found.train} & {pair.right.question for pair in found.held_out}
    of_problems = Counter((pair.right.question, pair.right.reference) for pair in pairs)
    assert all(number <= rules.pairs_per_problem for number in of_problems.values())
    assert len(found.held_out) <= rules.held_out_pairs
    # Everything that was given is used once, or has a reason.
    used = [one for pair in pairs for one in (pair.right, pair.wrong) if one.kind == "sampled"]
    assert Counter(used) + Counter(each.judgement for each in found.dropped) == Counter(judgements)
    assert balance(judgements, rules, seed) == found
    # No text is twice in a problem, as right and wrong least of all.
    texts = Counter((one.question, one.reference, one.response.casefold()) for one in used)
    assert all(number == 1 for number in texts.values())


@given(JUDGEMENTS, st.integers(1, 5))
def test_no_seed_moves_a_question_to_the_other_side(judgements, seed):
    rules = Rules(held_out=0.5, held_out_pairs=1000)
    first, second = balance(judgements, rules, 0), balance(judgements, rules, seed)
    for side in ("train", "held_out"):
        sides = [{pair.right.question for pair in getattr(found, side)} for found in (first, second)]
        assert sides[0] == sides[1]


def reasons(*judgements: Judgement, **rules: float) -> list[tuple[str, Reason]]:
    found = balance(judgements, Rules(**{"opener_share": 0.0} | rules))
    return [(each.judgement.response, each.reason) for each in found.dropped]


def test_every_reason():
    assert reasons(judged("5", True)) == [("5", Reason.ONLY_RIGHT)]
    assert reasons(judged("6", False)) == [("6", Reason.ONLY_WRONG)]
    assert reasons(judged("5", True), judged("6", False), judged(" ", False)) == [(" ", Reason.EMPTY)]
    assert reasons(judged("The 5", True), judged("the  5.", True), judged("6", False)) == [
        ("the  5.", Reason.DUPLICATE)
    ]
    # Of a response that was judged both ways nothing is kept.
    assert reasons(judged("x", True), judged("x", False), judged("5", True), judged("6", False)) == [
        ("x", Reason.CONTRADICTION),
        ("x", Reason.CONTRADICTION),
    ]
    assert reasons(judged("4 + 1", True), judged("6", False), judged("7", False))[0][1] is Reason.SURPLUS
    two = [judged("5", True), judged("6", False)]
    both = [*two, judged("5", True, "p"), judged("6", False, "p")]
    assert sorted(reasons(*both, held_out=0.999, held_out_pairs=1)) == [
        ("5", Reason.HELD_OUT_SURPLUS),
        ("6", Reason.HELD_OUT_SURPLUS),
    ]


def test_openers_give_no_answer():
    responses = [judged(f"first {number} then 5 is right so 5", True, f"q {number}") for number in range(200)]
    wrong = [judged(f"wrong {number}", False, f"q {number}") for number in range(200)]
    found = balance([*responses, *wrong], Rules(opener_share=0.5, held_out=0.1))
    openers = [pair for pair in (*found.train, *found.held_out) if pair.wrong.kind != "sampled"]
    assert 70 < len(openers) < 130
    cuts = [pair for pair in openers if pair.wrong.kind == "cut"]
    assert cuts
    for pair in cuts:
        assert pair.right.response.startswith(pair.wrong.response)
        assert len(pair.wrong.response) < len(pair.right.response)
        assert "5" not in pair.wrong.response
    phrases = {pair.wrong.response for pair in openers if pair.wrong.kind == "phrase"}
    assert phrases == set(OPENERS)
    replaced = [each for each in found.dropped if each.reason is Reason.OPENER]
    assert len(replaced) == len(openers)


def test_a_response_of_one_word_is_not_cut():
    found = balance([judged("right", True), judged("wrong", False)], Rules(opener_share=0.999, held_out=0.001))
    assert found.train == [Pair(judged("right", True), found.train[0].wrong)]
    assert found.train[0].wrong.kind == "phrase"
    assert found.dropped == [Dropped(judged("wrong", False), Reason.OPENER)]


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"pairs_per_problem": 0}, "pairs_per_problem must be 1 or more, got 0"),
        ({"opener_share": 1.0}, "opener_share must be from 0 to below 1, got 1.0"),
        ({"held_out": 0.0}, "held_out must be between 0 and 1, got 0.0"),
        ({"held_out_pairs": 0}, "held_out_pairs must be 1 or more, got 0"),
    ],
)
def test_rules_have_ranges(rules, sentence):
    with pytest.raises(ValueError, match=sentence):
        Rules(**rules)
