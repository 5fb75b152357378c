"""Why a problem gets no tests."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a problem was dropped; the first that holds, in this order."""

    TOO_FEW_SUBMISSIONS = "too few submissions"
    SPECIAL_JUDGE_IN_STATEMENT = "special judge, by its statement"
    NO_GENERATOR = "no generator"
    GENERATOR_FAILED = "the generator fails"
    GENERATOR_NOT_DETERMINISTIC = "the generator is not deterministic"
    GENERATOR_REPEATS = "the generator repeats itself"
    FLAKY_SUBMISSIONS = "too many flaky submissions"
    SPECIAL_JUDGE_IN_OUTPUTS = "special judge, by its outputs"
    TOO_FEW_VALID = "too few valid cases"
    TOO_FEW_PASS = "too few submissions pass"


class Dropped(Exception):
    """A problem gets no tests.

    Args:
        reason: Why.
        detail: The figures, or the words of what failed.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
