"""The validation gate: rows that too few judges vote for fall out, and sources with too many such rows are refused.

The paper has annotators rank and refine responses, and keeps what rules and reward models pass (2.5.2). Here experts,
or judges of any kind, vote on rows: a row passes with 85 % of its votes, six of seven say, and a source with 85 % of
the rows that were voted on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass
class Audit:
    """What the votes say of a source.

    Attributes:
        source: Its name.
        kept: Where each row stands that goes on, and the row: those that passed, and those without votes.
        dropped: Where each other row stands, and the row.
        audited: Rows that had votes.
    """

    source: str
    kept: list[tuple[str, Row]] = field(default_factory=list)
    dropped: list[tuple[str, Row]] = field(default_factory=list)
    audited: int = 0


def audit(source: str, rows: Iterable[tuple[str, Row]], min_share: float = 0.85) -> Audit:
    """Let through the rows that enough judges voted for.

    Args:
        source: Name of the source.
        rows: Where each row stands, in words, and the row. Its `votes` are a list of booleans, one a judge; a row
            without them was not audited, and goes on.
        min_share: Share of the votes that lets a row through, in (0, 1].

    Raises:
        ValueError: If the votes of a row are empty or no booleans.
    """
    check_share(min_share)
    found = Audit(source)
    for place, row in rows:
        votes = row.get("votes")
        if votes is None:
            found.kept.append((place, row))
            continue
        _check_votes(place, votes)
        found.audited += 1
        # A product may miss by a digit: 0.55 x 100 is more than 55.
        passed = sum(votes) / len(votes) >= min_share
        (found.kept if passed else found.dropped).append((place, row))
    return found


def check_source(found: Audit, min_share: float = 0.85) -> None:
    """Refuse a source of which too few audited rows passed: the others, which no judge saw, are no better.

    Args:
        found: What the votes say of it.
        min_share: Share of the audited rows that has to pass, in (0, 1].

    Raises:
        ValueError: With the numbers.
    """
    passed = found.audited - len(found.dropped)
    if found.audited and passed / found.audited < min_share:
        raise ValueError(
            f"source {found.source} must pass with {min_share:g} of its audited rows, got {passed} of {found.audited} "
            f"({passed / found.audited:.3f}); improve it, or set it to null."
        )


def reason(row: Row, min_share: float) -> str:
    """Say why a row fell out.

    Args:
        row: With `votes`.
        min_share: Share of the votes that would have let it through.
    """
    votes = row["votes"]
    return f"{sum(votes)} of {len(votes)} votes are for it, less than {min_share:g}"


def check_share(min_share: float) -> None:
    """Refuse a share that is none.

    Args:
        min_share: The share.

    Raises:
        ValueError: If it is not in (0, 1].
    """
    if not 0 < min_share <= 1:
        raise ValueError(f"min_share must be above 0 and at most 1, got {min_share}; take 0.85, say.")


def _check_votes(place: str, votes: Any) -> None:
    if not isinstance(votes, list) or not votes or not all(isinstance(vote, bool) for vote in votes):
        raise ValueError(
            f"{place}: votes must be a list of true and false, one a judge and not empty, got {votes!r:.60}; correct "
            "them, or leave them out for a row that nobody judged."
        )
