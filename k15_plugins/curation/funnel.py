"""How many problems are left after each step of a selection, and why the others were dropped."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class Funnel:
    """What became of the problems.

    Attributes:
        kept: Problems that are left.
        dropped: How many were dropped for each reason, one of a `StrEnum`.
        groups: The steps in their order, and the reasons that each may give.
        paper: Shares of the problems that are left in the paper after a step.
    """

    kept: int
    dropped: Counter[Any]
    groups: Mapping[str, tuple[StrEnum, ...]]
    paper: Mapping[str, float] = field(default_factory=dict)

    def steps(self) -> dict[str, int]:
        """Return how many problems are left after each step, all of them first."""
        left = self.kept + sum(self.dropped.values())
        counts = {"problems": left}
        for name, reasons in self.groups.items():
            left -= sum(self.dropped[reason] for reason in reasons)
            counts[name] = left
        return counts

    def reasons(self) -> dict[str, int]:
        """Return how many problems were dropped for each reason that occurred, in the order of the reasons."""
        kinds = {type(reason) for reasons in self.groups.values() for reason in reasons}
        return {str(reason): self.dropped[reason] for kind in kinds for reason in kind if self.dropped[reason]}

    def table(self) -> str:
        """Return the steps and the reasons as Markdown."""
        steps = self.steps()
        total = max(1, steps["problems"])
        paper = (" in the paper |", "---|") if self.paper else ("", "")
        lines = [f"| left after | problems | share |{paper[0]}", f"|---|---|---|{paper[1]}"]
        for name, left in steps.items():
            share = f" {self.paper[name]:.3f} |" if name in self.paper else "  |" if self.paper else ""
            lines.append(f"| {name} | {left} | {left / total:.3f} |{share}")
        if self.dropped:
            lines += ["", "| dropped because | problems |", "|---|---|"]
            lines += [f"| {reason} | {number} |" for reason, number in self.reasons().items()]
        return "\n".join(lines)
