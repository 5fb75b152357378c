"""Questions whose answers cannot be verified, or are too easily guessed, told by their words (paper 2.1).

The paper excludes multiple choice, true/false and proof questions, and does not say how it finds them. These patterns
read English.
"""

import re

from k15_plugins.curation.reasons import Drop, Reason

# Options within a line need three letters in order, for "points (A) and (B)" are none; a line each needs two.
_INLINE = r"\(\s*A\s*\).*?\(\s*B\s*\).*?\(\s*C\s*\)"
_A_LINE_EACH = r"^\W*A\s*[.):](?=\s).*?^\W*B\s*[.):](?=\s)"
# "Prove" is asked for where a sentence begins, or after "and", "to" and the like: "it can be shown that" is no demand.
_DEMAND = r"(?:^|[.!?:;,$\n]\s*|\)\s+|\b(?:and|then|or|to|please|must|can you|us|hence)\s+)"

_WORDS = {
    Reason.MULTIPLE_CHOICE: (
        re.compile(_INLINE, re.DOTALL),
        re.compile(_A_LINE_EACH, re.DOTALL | re.MULTILINE),
        re.compile(r"\b(?:which|what|one) (?:one )?of the (?:following|options|choices)\b", re.IGNORECASE),
        re.compile(
            r"\b(?:choose|select|pick) (?:the (?:correct|right|best)|one) (?:option|answer|choice)", re.IGNORECASE
        ),
    ),
    Reason.TRUE_FALSE: (
        re.compile(r"\btrue\s*(?:or|/)\s*false\b", re.IGNORECASE),
        re.compile(r"\b(?:yes\s*(?:or|/)\s*no)\b", re.IGNORECASE),
        re.compile(
            r"\b(?:is|are) (?:the|this|that|these) (?:\w+ ){0,2}(?:statement|claim|assertion)s? "
            r"(?:true|correct|false)\b",
            re.IGNORECASE,
        ),
    ),
    Reason.PROOF: (
        re.compile(_DEMAND + r"(?:prove|disprove)\b(?! (?:useful|helpful|to be)\b)", re.IGNORECASE),
        re.compile(_DEMAND + r"(?:show|verify|demonstrate|justify) that\b", re.IGNORECASE),
        re.compile(r"\b(?:write|give|find|provide|complete) an? (?:\w+ )?proof\b", re.IGNORECASE),
    ),
}
_ANSWERS = {
    Reason.MULTIPLE_CHOICE: re.compile(r"[\\a-z{\s]*\(?\s*[A-E]\s*[).:]?[}\s]*"),
    Reason.TRUE_FALSE: re.compile(r"(?:true|false|yes|no)\.?", re.IGNORECASE),
}


def why_excluded(question: str, answer: str) -> Drop | None:
    r"""Tell whether a question is multiple choice, true or false, or asks for a proof, or has no answer at all.

    The words of the question are looked at first, then the answer: one of the letters A to E (also `(B)`, `\text{B}`),
    or true, false, yes or no.

    Args:
        question: Its text.
        answer: The right answer.

    Returns:
        The reason, with the words that gave it; None for a question to keep.
    """
    answer = answer.strip()
    if not answer:
        return Drop(Reason.NO_ANSWER, "the answer is empty")
    for reason, patterns in _WORDS.items():
        for pattern in patterns:
            if found := pattern.search(question):
                return Drop(reason, f"its words: {' '.join(found[0].split())[:80]}")
    for reason, pattern in _ANSWERS.items():
        if pattern.fullmatch(answer):
            return Drop(reason, f"its answer: {answer}")
    return None
