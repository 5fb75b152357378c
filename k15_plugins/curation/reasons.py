"""Why a problem is not trained on (paper 2.1)."""

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a problem was dropped; the first that holds, in this order."""

    NO_ANSWER = "no right answer to compare with"
    MULTIPLE_CHOICE = "multiple choice"
    TRUE_FALSE = "true or false"
    PROOF = "asks for a proof"
    DUPLICATE = "near-duplicate of another problem"
    BENCHMARK = "is in a benchmark"
    GUESSED = "guessed without reasoning"
    SOLVED = "solved in every sample"
    UNSOLVED = "solved in no sample"
    SURPLUS = "its domain has more than its share"


STEPS = {
    "can be verified": (Reason.NO_ANSWER, Reason.MULTIPLE_CHOICE, Reason.TRUE_FALSE, Reason.PROOF),
    "no near-duplicates": (Reason.DUPLICATE,),
    "in no benchmark": (Reason.BENCHMARK,),
    "hard to guess": (Reason.GUESSED,),
    "neither too easy nor too hard": (Reason.SOLVED, Reason.UNSOLVED),
    "domains balanced": (Reason.SURPLUS,),
}
"""The filters in their order, the cheap ones first, and the reasons that each may give."""


class Drop(NamedTuple):
    """What is said of a dropped problem.

    Attributes:
        reason: Why.
        detail: The words or figures that decided.
    """

    reason: Reason
    detail: str
