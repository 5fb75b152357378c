"""How many problems are left after each step, as the paper tells it: 1,000 -> 614 -> 463 -> 323."""

from collections import Counter
from dataclasses import dataclass

from k15_plugins.code_tests.reasons import Reason

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


@dataclass(frozen=True)
class Funnel:
    """What became of the problems.

    Attributes:
        kept: Problems with tests.
        dropped: How many were dropped for each reason.
    """

    kept: int
    dropped: Counter[Reason]

    def steps(self) -> dict[str, int]:
        """Return how many problems are left after each step, all of them first."""
        left = self.kept + sum(self.dropped.values())
        counts = {"problems": left}
        for name, reasons in _STEPS.items():
            left -= sum(self.dropped[reason] for reason in reasons)
            counts[name] = left
        return counts

    def table(self) -> str:
        """Return the steps and the reasons as Markdown."""
        steps = self.steps()
        total = max(1, steps["problems"])
        lines = ["| left after | problems | share | in the paper |", "|---|---|---|---|"]
        for name, left in steps.items():
            paper = f"{PAPER[name]:.3f}" if name in PAPER else ""
            lines.append(f"| {name} | {left} | {left / total:.3f} | {paper} |")
        if self.dropped:
            lines += ["", "| dropped because | problems |", "|---|---|"]
            lines += [f"| {reason} | {self.dropped[reason]} |" for reason in Reason if self.dropped[reason]]
        return "\n".join(lines)
