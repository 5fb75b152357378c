"""Which questions are excluded, and which only look like it."""

import pytest

from k15_plugins.curation.exclusions import why_excluded
from k15_plugins.curation.reasons import Reason

CHOICE, TRUTH, PROOF = Reason.MULTIPLE_CHOICE, Reason.TRUE_FALSE, Reason.PROOF


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("What is 2 + 2? (A) 3 (B) 4 (C) 5 (D) 6", "4", CHOICE),
        (r"Find $x$. $\textbf{(A)}\ 1\qquad\textbf{(B)}\ 2\qquad\textbf{(C)}\ 3$", "2", CHOICE),
        ("How many legs has a spider?\nA. six\nB. eight", "eight", CHOICE),
        ("How many legs has a spider?\n  A) six\n  B) eight\n  C) ten", "8", CHOICE),
        ("Which of the following is prime: 4, 6, 7?", "7", CHOICE),
        ("Choose the correct option.", "12", CHOICE),
        ("What is the capital of France?", "B", CHOICE),
        ("What is the capital of France?", "(C)", CHOICE),
        ("What is the capital of France?", r"\text{D}", CHOICE),
        ("True or false: 7 is prime.", "1", TRUTH),
        ("Is 7 prime? Answer yes or no.", "1", TRUTH),
        ("Is the following statement true? All primes are odd.", "0", TRUTH),
        ("Is 91 prime?", "No", TRUTH),
        ("Does it converge?", "true", TRUTH),
        ("Prove that there are infinitely many primes.", "see text", PROOF),
        ("Let n be odd. Show that n^2 is odd.", "1", PROOF),
        ("Let $n$ be even, and prove your claim.", "1", PROOF),
        ("Find all n and prove that there are no others.", "3", PROOF),
        ("Give a short proof of Fermat's little theorem.", "1", PROOF),
        ("(a) Verify that f is linear.", "1", PROOF),
        ("What is x?", "  ", Reason.NO_ANSWER),
    ],
)
def test_what_is_excluded_and_why(question, answer, reason):
    drop = why_excluded(question, answer)
    assert drop is not None
    assert drop.reason is reason
    assert drop.detail


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("3 + 4 - 2 =", "5"),
        ("The line through the points (A) and (B) has slope 2. Where does it meet the axis?", "3"),
        ("It can be shown that x > 0. What is x?", "3"),
        ("Show your work. What is 2 + 2?", "4"),
        ("Studies show that 30 % of 50 people smoke. How many are that?", "15"),
        ("A train leaves at 3 pm. B. Smith meets it at 5 pm. How long did he wait?", "2 hours"),
        ("What is the truth value count?", "Berlin"),
        ("Which letter comes after E?", "F"),
        ("A waterproof case turns out to prove useful. It costs 3 + 2 dollars; how many?", "$5$"),
        ("Name a city.", "Eindhoven"),
    ],
)
def test_what_only_looks_like_it_is_kept(question, answer):
    assert why_excluded(question, answer) is None
