"""The rule for repetitions: while tokens come, afterwards, and across a pause."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k15_plugins.rollouts import RepetitionDetector, RepetitionRule, first_repetition, repeated_period

rules = st.builds(
    lambda shortest, more, count: RepetitionRule(shortest + more, count, shortest),
    st.integers(1, 4),
    st.integers(0, 4),
    st.integers(2, 4),
)
responses = st.lists(st.integers(0, 2), min_size=0, max_size=40)


def by_definition(ids, rule):
    """The rule word by word: the end is min_count copies of the same p tokens."""
    for period in range(rule.min_period, rule.max_period + 1):
        end = ids[-period * rule.min_count :]
        if len(end) == period * rule.min_count and end == end[:period] * rule.min_count:
            return period
    return None


@pytest.mark.parametrize(
    ("ids", "period"),
    [
        ([7, 7, 7], 1),
        ([7, 7], None),
        ([1, 2, 1, 2, 1, 2], 2),
        ([9, 1, 2, 3, 1, 2, 3, 1, 2, 3], 3),
        ([1, 2, 3, 1, 2, 3, 1, 2], None),
        ([1, 2, 3, 1, 2, 3, 1, 2, 3, 4], None),
        ([1, 2, 3, 4] * 3, None),
        ([], None),
    ],
)
def test_table(ids, period):
    assert repeated_period(ids, RepetitionRule(max_period=3, min_count=3)) == period


@given(responses, rules)
@settings(max_examples=300, deadline=None)
def test_it_is_the_rule_word_by_word(ids, rule):
    assert repeated_period(ids, rule) == by_definition(ids, rule)


@given(responses, rules, st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_afterwards_the_first_repetition_is_found(ids, rule, after):
    stops = [n for n in range(len(ids) + 1) if by_definition(ids[:n], rule) is not None]
    assert first_repetition(ids, rule) == (stops[0] if stops else None)
    later = [n for n in stops if n > after]
    assert first_repetition(ids, rule, after=after) == (later[0] if later else None)


@given(st.lists(st.tuples(responses, st.integers(0, 40)), min_size=1, max_size=4), rules)
@settings(max_examples=200, deadline=None)
def test_token_by_token_and_across_a_pause_it_is_the_same_rule(rows, rule):
    started = [ids[: min(cut, len(ids))] for ids, cut in rows]
    rest = [ids[len(begun) :] for (ids, _), begun in zip(rows, started, strict=True)]
    detector = RepetitionDetector(started, rule, torch.device("cpu"))
    for place in range(max(map(len, rest))):
        rows = [row for row, ids in enumerate(rest) if place < len(ids)]
        found = detector.step(torch.tensor([rest[row][place] for row in rows]), torch.tensor(rows))
        for row, repeats in zip(rows, found.tolist(), strict=True):
            assert repeats == (by_definition(started[row] + rest[row][: place + 1], rule) is not None)


def test_the_work_for_a_token_does_not_grow_with_the_response():
    rule = RepetitionRule(max_period=8, min_count=4)
    detector = RepetitionDetector([np.arange(100_000)], rule, torch.device("cpu"))
    assert detector.ring_BR.shape == (1, 8)
    assert detector.runs_BP.shape == (1, 8)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"max_period": 0, "min_count": 4}, "1 <= min_period <= max_period"),
        ({"max_period": 2, "min_count": 4, "min_period": 3}, "1 <= min_period <= max_period"),
        ({"max_period": 2, "min_count": 1}, "one copy is no repetition"),
    ],
)
def test_impossible_rules_are_refused(settings_, message):
    with pytest.raises(ValueError, match=message):
        RepetitionRule(**settings_)
