"""The verifier of verifier_pool.py: that of `MathReward`, but for answers that say how they hang."""

import time

from k15_plugins.rewards import score_math

prepare = score_math.prepare


def score(answer: str, gold: str, strict: bool, whole_response: bool) -> float:
    """Score an answer, or never."""
    if answer.startswith("burn"):
        while True:
            pass
    if answer.startswith("sleep"):
        time.sleep(1000)
    return score_math.score(answer, gold, strict, whole_response)
