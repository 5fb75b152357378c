"""How many problems are left after each step, as the paper tells it: 1,000 -> 614 -> 463 -> 323."""

from collections import Counter

from k15_plugins.code_tests.reasons import Reason
from k15_plugins.curation.funnel import Funnel

PAPER = {"no special judge": 614 / 1000, "enough valid cases": 463 / 1000, "enough submissions pass": 323 / 1000}
"""Shares of the problems that are left in the paper (2.3.5)."""

_STEPS = {
    "enough submissions": (Reason.TOO_FEW_SUBMISSIONS,),
    "no special judge": (Reason.SPECIAL_JUDGE_IN_STATEMENT, Reason.SPECIAL_JUDGE_IN_OUTPUTS),
    "a generator that works": (
        Reason.NO_GENERATOR,
        Reason.GENERATOR_FAILED,
        Reason.GENERATOR_NOT_DETERMINISTIC,
        Reason.GENERATOR_REPEATS,
    ),
    "enough valid cases": (Reason.FLAKY_SUBMISSIONS, Reason.TOO_FEW_VALID),
    "enough submissions pass": (Reason.TOO_FEW_PASS,),
}


def funnel_of(kept: int, dropped: Counter[Reason]) -> Funnel:
    """Return what became of the problems.

    Args:
        kept: Problems with tests.
        dropped: How many were dropped for each reason.
    """
    return Funnel(kept, dropped, _STEPS, PAPER)
