"""Votes on outputs, and the words that tell of a special judge."""

import pytest

from k15_plugins.code_tests.special_judge import special_judge_words
from k15_plugins.code_tests.vote import Vote, same_output


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"1 2\n", b"1\n2", True),
        (b"0.5", b"0.50000", True),
        (b"0.3333333", b"0.33333333333", True),
        (b"0.333", b"0.33333333333", False),
        (b"3", b"3.0", False),  # one of them would not pass for the other
        (b"3", b"3.0000001", False),
        (b"10000000000000001", b"10000000000000002", False),
        (b"yes", b"YES", False),
        (b"nan", b"0.5", False),
        (b"1", b"1 1", False),
    ],
)
def test_the_same_output_passes_in_both_directions(one, other, same):
    assert same_output(one, other) is same
    assert same_output(other, one) is same


def test_the_winner_is_what_most_wrote():
    vote = Vote()
    for voter, output in enumerate([b"2", b"1.0", b"2 ", b"1.0000001", b"\n2"]):
        vote.add(voter, output)
    assert vote.winner() == (b"2", [0, 2, 4])
    assert vote.voters() == 5
    assert len(vote.clusters) == 2
    assert Vote().winner() == (b"", [])


@pytest.mark.parametrize(
    "statement",
    [
        "If there are multiple answers, print any of them.",
        "If there are several ways, output any\none of them.",
        "Print any valid sequence.",
        "You may print the numbers in any order.",
        "If there is more than one solution, find any.",
        "Multiple answers are accepted.",
        "This is an interactive problem.",
        "After each query flush the output.",
        "A special judge checks your answer.",
        "any optimal solution will be accepted",
    ],
)
def test_words_that_tell_of_many_right_answers(statement):
    assert special_judge_words(f"You are given n. {statement} 1 <= n <= 5.")


@pytest.mark.parametrize(
    "statement",
    [
        "If there are multiple answers, print the smallest.",
        "Print the lexicographically smallest of them.",
        "No two of any of the numbers are equal; you may choose any number of elements.",
        "The edges are given in arbitrary direction, and any edge may be used twice.",
        "The line does not contain any spaces. Print the answer.",
        "Do not print any other text.",
        "It is guaranteed that the answer exists. The grid has a checkerboard colouring.",
    ],
)
def test_words_that_do_not(statement):
    assert special_judge_words(statement) is None
