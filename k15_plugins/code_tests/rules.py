"""The numbers by which test cases and problems are kept."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """When a case is valid, and when a problem is kept (paper 2.3.5).

    Attributes:
        cases: Cases that are wanted of a problem.
        min_valid: Cases that must be valid.
        submissions: Submissions that are taken of each problem.
        agree: Of these, how many must write the same for a case to be valid.
        passing: Of these, how many must pass all valid cases.
        fewer_submissions: Take problems with fewer submissions too, two at least; `agree` and `passing` shrink with
            their number, rounded up.
        tries: Seeds for which a generator is run at most.
        repeats: Cases that each submission answers twice, to find those that answer differently.
    """

    cases: int = 50
    min_valid: int = 40
    submissions: int = 10
    agree: int = 7
    passing: int = 9
    fewer_submissions: bool = False
    tries: int = 100
    repeats: int = 3

    def __post_init__(self) -> None:
        limits = {
            "cases": (1, None),
            "min_valid": (1, self.cases),
            "submissions": (2, None),
            "agree": (2, self.submissions),
            "passing": (1, self.submissions),
            "tries": (self.cases, None),
            "repeats": (0, self.cases),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or value < low or (high is not None and value > high):
                words = f"from {low}" + (f" to {high}" if high is not None else "")
                raise ValueError(f"{name} must be a whole number {words}, got {value!r}; set it to such a number.")

    def of(self, number: int, submissions: int) -> int:
        """Scale `agree` or `passing` to another number of submissions.

        Args:
            number: What is asked of `self.submissions`.
            submissions: How many there are.

        Returns:
            What is asked of these, rounded up.
        """
        return -(-number * submissions // self.submissions)
