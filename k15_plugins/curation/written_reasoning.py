"""Judgements with written reasoning: kept where the verdict at their end is the known one (rejection sampling)."""

from collections.abc import Sequence
from typing import Any

from k15_plugins.rewards.answers import response_text
from k15_plugins.rewards.judgement import read_verdict


def agrees(completions: Sequence[Any], reference: Sequence[str], correct: Sequence[bool], **_: Any) -> list[float]:
    """Reward a judgement for the known verdict, in the form of TRL's reward functions.

    Args:
        completions: What a model wrote of some responses.
        reference: The right answer of each one's problem.
        correct: Whether each response is right.
        _: TRL's other arguments, not used.

    Returns:
        1.0 where the verdict can be read and is the known one.
    """
    return [
        float(read_verdict(response_text(text), right_answer) is known)
        for text, right_answer, known in zip(completions, reference, correct, strict=True)
    ]
