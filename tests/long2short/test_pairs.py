"""The rules of preference pairs, on samples made by hand and for any samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from long2short.cases import problem, problems, sample

from k15_plugins.long2short.pairs import preference_pairs
from k15_plugins.long2short.shortest import shortest_correct, shortest_rows
from k15_plugins.samples import Sample, SampledProblem


def lengths(pairs):
    return [(pair["kind"], pair["chosen_tokens"], pair["rejected_tokens"]) for pair in pairs]


def test_both_kinds_in_turn_the_longest_first():
    group = problem(
        sample(4, True),
        sample(5, True),  # right, but not 1.5 times as long
        sample(6, True),
        sample(9, True),
        sample(4, False),  # wrong, but not longer
        sample(7, False),
        sample(8, False),
        sample(3, False),
    )
    everything = [("wrong", 4, 8), ("long", 4, 9), ("wrong", 4, 7), ("long", 4, 6)]
    for number in range(1, 6):
        assert lengths(preference_pairs([group], pairs_per_problem=number)) == everything[:number]
    assert lengths(preference_pairs([group], ratio=1.25, pairs_per_problem=9))[-1] == ("long", 4, 5)


def test_exactly_the_ratio_is_long_enough():
    group = problem(sample(50, True), sample(55, True))
    assert lengths(preference_pairs([group], ratio=1.1)) == [("long", 50, 55)]


def test_ties_go_to_the_first_and_equal_responses_count_once():
    group = problem(
        sample(3, True, mark=1), sample(3, True, mark=2), sample(8, False, mark=3), sample(8, False, mark=4),
        sample(8, False, mark=3),
    )  # fmt: skip
    pairs = preference_pairs([group], pairs_per_problem=9)
    assert [(pair["chosen_ids"][0], pair["rejected_ids"][0]) for pair in pairs] == [(1, 3), (1, 4)]


def test_a_response_that_was_cut_off_is_never_chosen_and_stands_as_it_is_when_rejected():
    group = problem(sample(2, True, truncated=True), sample(4, True), sample(9, False, truncated=True, mark=7))
    (pair,) = preference_pairs([group])
    assert pair["chosen_ids"] == group.samples[1].ids
    assert pair["rejected_ids"] == group.samples[2].ids
    assert (pair["prompt"], pair["chosen"]) == ("prompt 0", "response 0 of 4")
    assert pair["prompt_ids"] == [1, 2, 0]


def test_messages_are_answered_by_messages():
    group = problem(sample(4, True), sample(9, False))
    chat = type(group)(**{**vars(group), "prompt": [{"role": "user", "content": "?"}]})
    (pair,) = preference_pairs([chat])
    assert pair["rejected"] == [{"role": "assistant", "content": "response 0 of 9"}]


@given(problems, st.floats(1.01, 4), st.integers(1, 9))
def test_every_pair_keeps_its_rule(given_problems, ratio, pairs_per_problem):
    pairs = preference_pairs(given_problems, ratio=ratio, pairs_per_problem=pairs_per_problem)
    by_problem = {each.problem: each for each in given_problems}
    for pair in pairs:
        group = by_problem[pair["problem"]].samples
        assert pair["chosen_ids"] == shortest_correct(group).ids
        rejected = [one for one in group if one.ids == pair["rejected_ids"]]
        if pair["kind"] == "wrong":
            assert any(not one.right for one in rejected)
            assert pair["rejected_tokens"] > pair["chosen_tokens"]
        else:
            assert any(one.right for one in rejected)
            assert pair["rejected_tokens"] >= ratio * pair["chosen_tokens"] - 1e-9
    for number in by_problem:
        own = [tuple(pair["rejected_ids"]) for pair in pairs if pair["problem"] == number]
        assert len(own) == len(set(own)) <= pairs_per_problem


@given(problems, st.floats(1.01, 2), st.floats(2, 4))
def test_a_larger_ratio_only_takes_pairs_away(given_problems, small, large):
    def found(ratio):
        pairs = preference_pairs(given_problems, ratio=ratio, pairs_per_problem=99)
        return {(pair["problem"], pair["kind"], *pair["rejected_ids"]) for pair in pairs}

    assert found(large) <= found(small)


@given(problems, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_only_ties(given_problems, rng):
    def shuffled(each):
        return problem(*rng.sample(each.samples, len(each.samples)), number=each.problem)

    before = preference_pairs(given_problems)
    after = preference_pairs([shuffled(each) for each in given_problems])
    if all(len({tuple(one.ids) for one in each.samples}) == len(each.samples) for each in given_problems):
        assert lengths(before) == lengths(after)


@given(problems, st.floats(0, 1), st.integers(0, 3))
def test_the_balance_leaves_out_one_kind_only(given_problems, share, seed):
    everything = preference_pairs(given_problems)
    kinds = {pair["kind"] for pair in everything}
    needed = ({"wrong"} if share > 0 else set()) | ({"long"} if share < 1 else set())
    if kinds and not needed <= kinds:
        with pytest.raises(ValueError, match="needs pairs of"):
            preference_pairs(given_problems, wrong_share=share, seed=seed)
        return
    kept = preference_pairs(given_problems, wrong_share=share, seed=seed)
    places = [everything.index(pair) for pair in kept]
    assert places == sorted(places)

    def count(pairs, kind):
        return sum(pair["kind"] == kind for pair in pairs)

    wrong, long = count(kept, "wrong"), count(kept, "long")
    assert wrong == count(everything, "wrong") or long == count(everything, "long")
    if wrong + long:
        # As near as whole pairs allow.
        assert abs(wrong - share * (wrong + long)) <= 1
    assert kept == preference_pairs(given_problems, wrong_share=share, seed=seed)


def test_a_share_of_a_kind_that_is_not_there_is_refused():
    long = [problem(sample(4, True), sample(9, True), number=number) for number in range(3)]
    wrong = [problem(sample(4, True), sample(9, False), number=3)]
    for groups, share, counts in ((long, 0.5, "0 wrong and 3 long"), (wrong, 0.25, "1 wrong and 0 long")):
        message = f"wrong_share={share} needs pairs of both kinds, and the samples give {counts}; sample more"
        with pytest.raises(ValueError, match=message):
            preference_pairs(groups, wrong_share=share)
    with pytest.raises(ValueError, match="wrong_share=0 needs pairs of kind long"):
        preference_pairs(wrong, wrong_share=0)
    assert len(preference_pairs(long, wrong_share=0)) == 3
    assert len(preference_pairs(wrong, wrong_share=1)) == 1
    nothing_right = [problem(sample(4, False))]
    assert preference_pairs(nothing_right, wrong_share=0.5) == []


@pytest.mark.parametrize(("share", "wrong", "long"), [(0.25, 10, 30), (0.75, 30, 10), (0.5, 30, 30), (0.0, 0, 30)])
def test_the_share_is_reached_by_leaving_out_the_other_kind_by_seed(share, wrong, long):
    groups = [problem(sample(4, True), sample(8, False), sample(9, True), number=number) for number in range(30)]
    pairs = preference_pairs(groups, wrong_share=share, seed=1)
    assert [sum(pair["kind"] == kind for pair in pairs) for kind in ("wrong", "long")] == [wrong, long]
    assert pairs == preference_pairs(groups, wrong_share=share, seed=1)
    left_out = wrong + long < 60 and min(wrong, long) > 0
    assert (pairs != preference_pairs(groups, wrong_share=share, seed=2)) == left_out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1.0}, "ratio must be above 1, .* got 1.0"),
        ({"pairs_per_problem": 0}, "pairs_per_problem must be 1 or more, got 0"),
        ({"wrong_share": 1.5}, "wrong_share must be a share from 0 to 1, or None, got 1.5"),
        ({"ratio": "1.5"}, "ratio must be a number, got '1.5'"),
        ({"pairs_per_problem": "2"}, "pairs_per_problem must be a whole number, got '2'"),
        ({"pairs_per_problem": 1.5}, "pairs_per_problem must be a whole number, got 1.5"),
        ({"wrong_share": "half"}, "wrong_share must be a number, got 'half'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        preference_pairs([problem(sample(4, True))], **options)


@pytest.mark.parametrize("make", [preference_pairs, shortest_rows])
def test_what_holds_no_problems_is_refused(make):
    with pytest.raises(ValueError, match="problems must hold at least one problem, got none"):
        make([])
    with pytest.raises(ValueError, match=r"problems must be a list of SampledProblem, got {'problem'"):
        make({"problem": 1})


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "problems must have samples, got problem 3 without any"),
        ([Sample("", [], right=True)], "ids of a sample must hold its tokens, got none for problem 3"),
        ([Sample("1", [1], right=0.3)], "right of a sample must be true or false, got 0.3 for problem 3"),
    ],
)
def test_a_problem_needs_samples_with_tokens_and_verdicts(samples, message):
    with pytest.raises(ValueError, match=message):
        preference_pairs([SampledProblem(3, "1 =", [1], samples)])
