"""The gate of 85 %: which rows and sources pass, to the last vote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k15_plugins.curation.votes import audit, check_source, reason


def rows(*shares):
    """A row for each (votes for it, votes), or None for one that nobody judged."""
    return [
        (f"file, line {number}", {"row": number} | ({} if votes is None else {"votes": said(*votes)}))
        for number, votes in enumerate(shares, 1)
    ]


def said(yes, number):
    return [True] * yes + [False] * (number - yes)


@pytest.mark.parametrize(
    ("yes", "number", "passes"),
    [(6, 7, True), (5, 6, False), (17, 20, True), (16, 20, False), (1, 1, True), (0, 1, False), (85, 100, True)],
)
def test_a_row_passes_with_85_percent_of_its_votes(yes, number, passes):
    found = audit("math", rows((yes, number)))
    assert (len(found.kept), len(found.dropped), found.audited) == ((1, 0, 1) if passes else (0, 1, 1))


@given(st.integers(1, 200), st.data())
def test_the_share_is_compared_exactly(number, data):
    yes = data.draw(st.integers(0, number))
    assert bool(audit("any", rows((yes, number))).kept) == (100 * yes >= 85 * number)


def test_every_row_is_kept_or_dropped_with_its_place_and_a_reason():
    given_rows = rows((6, 7), (5, 6), None, (0, 3))
    found = audit("math", given_rows)
    assert found.kept == [given_rows[0], given_rows[2]]  # one that nobody judged goes on
    assert found.dropped == [given_rows[1], given_rows[3]]
    assert found.audited == 3
    assert reason(found.dropped[0][1], 0.85) == "5 of 6 votes are for it, less than 0.85"


@pytest.mark.parametrize(("good", "bad", "unseen", "passes"), [(17, 3, 0, True), (16, 3, 50, False), (0, 0, 9, True)])
def test_a_source_passes_with_85_percent_of_its_audited_rows(good, bad, unseen, passes):
    found = audit("math", rows(*[(7, 7)] * good, *[(0, 7)] * bad, *[None] * unseen))
    if passes:
        check_source(found)
    else:
        with pytest.raises(
            ValueError, match=r"source math must pass with 0.85 of its audited rows, got 16 of 19 \(0.8"
        ):
            check_source(found)


def test_the_share_can_be_another():
    found = audit("math", rows((1, 2), (0, 2)), min_share=0.5)
    assert len(found.kept) == 1
    check_source(found, 0.5)
    assert audit("math", rows((55, 100)), min_share=0.55).kept


@pytest.mark.parametrize("votes", [[], [1, 0], ["true"], "true", True, [None], {"a": True}])
def test_votes_that_are_none_are_refused(votes):
    with pytest.raises(ValueError, match=r"good\.jsonl, line 7: votes must be a list of true and false, .*, got "):
        audit("math", [("good.jsonl, line 7", {"votes": votes})])


@pytest.mark.parametrize("share", [0, 1.01, -0.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="min_share must be above 0 and at most 1, got"):
        audit("math", [], share)
