"""Problems with several right answers: they need a judge of their own, and a vote says nothing about them."""

import re

# "If there are several answers, print the smallest" has one right answer; "print any of them" has many.
_ANY = (
    r"(print|output|write|report|give|find|return|construct|display) any\b(?! (other|extra|more|further))",
    r"any (one )?of (them|these|those)\b",
    r"any (valid|correct|suitable|possible|acceptable|such|optimal) "
    r"(answer|solution|output|one|order|way|sequence|arrangement)",
    r"in (any|arbitrary) order",
    r"any order is",
    r"(answers?|solutions?|outputs?) (is|are|will be|may be|can be) (all )?(accepted|allowed)",
    r"special[- ](judge|checker)",
    r"\bspj\b",
    r"checker (program )?(will|accepts)",
    r"interactive (problem|task)",
    r"flush (the |your )?(output|stdout)",
)
_KEYWORDS = re.compile("|".join(f"(?:{each})" for each in _ANY), re.IGNORECASE)

DISTINCT = 3
"""So many different outputs to a case tell of several right answers, not of a wrong program."""


def special_judge_words(statement: str) -> str | None:
    """Find the words of a statement which say that several answers are right, or that a judge is talked to.

    Args:
        statement: Of the problem.

    Returns:
        The words, or None.
    """
    found = _KEYWORDS.search(" ".join(statement.split()))
    return found[0] if found else None
