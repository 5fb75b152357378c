"""What the filters of a curation keep."""

from dataclasses import dataclass
from typing import Any

from k15_plugins.extras import check_installed
from k15_plugins.numbers import check_numbers, check_whole_numbers

DEFAULTS = {
    "duplicates": 0.8,
    "benchmarks": 0.5,
    "guesses": 8,
    "samples": 10,
    "levels": 5,
    "max_domain_share": 0.5,
    "max_domain_size": 1000,
}
"""What an error proposes."""


@dataclass(frozen=True)
class Rules:
    """Which problems are dropped. A filter is left out by null or false.

    Args:
        exclude: Drop multiple choice, true/false and proof questions.
        duplicates: Likeness from which two problems are one, see `duplicates.near_duplicates`.
        benchmarks: Share of a benchmark's question from which a problem is dropped, see `overlap.overlaps`.
        guesses: Guesses without reasoning, of which none may be right; the paper's 8.
        samples: Responses that tell how hard a problem is; the paper's 10.
        levels: Levels of difficulty that the problems get.
        drop_solved: Drop problems that all responses solve.
        drop_unsolved: Drop problems that no response solves.
        max_domain_share: Largest share of the kept problems that a domain may have.
        max_domain_size: Most problems of a domain.

    Raises:
        ValueError: If a number is out of range.
        ModuleNotFoundError: If datasketch, which finds duplicates, is not installed.
    """

    exclude: bool = True
    duplicates: float | None = 0.8
    benchmarks: float = 0.5
    guesses: int | None = 8
    samples: int = 10
    levels: int = 5
    drop_solved: bool = True
    drop_unsolved: bool = False
    max_domain_share: float | None = None
    max_domain_size: int | None = None

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("duplicates", "benchmarks", "max_domain_share")}
        counts = {name: getattr(self, name) for name in ("guesses", "samples", "levels", "max_domain_size")}
        check_numbers(**_given(shares))
        check_whole_numbers(**_given(counts))
        for name, value in _given(shares).items():
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}; set {DEFAULTS[name]}, say.")
        for name, value in _given(counts).items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}; set {DEFAULTS[name]}, say.")
        if self.duplicates is not None:
            check_installed("stage.rules.duplicates", "datasketch")


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
