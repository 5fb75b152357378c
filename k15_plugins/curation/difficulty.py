"""How hard a problem is: the share of right responses among several of a model's at a high temperature (paper 2.1)."""

from k15_plugins.curation.reasons import Drop, Reason


def level_of(right: int, samples: int, levels: int) -> int:
    """Return the level of a problem: equal parts of the range of pass rates, the highest rates first.

    Args:
        right: Right responses.
        samples: Responses, at least 1.
        levels: Number of levels.

    Returns:
        From 0, the easiest, to `levels - 1`, to which a problem without a right response belongs.
    """
    # In whole numbers: 1 - 0.9 is not 0.1.
    return min(levels - 1, (samples - right) * levels // samples)


def why_no_use(right: int, samples: int, drop_solved: bool, drop_unsolved: bool) -> Drop | None:
    """Tell whether a problem teaches nothing, because all responses to it are right, or none.

    Args:
        right: Right responses.
        samples: Responses.
        drop_solved: Whether a problem with right responses only is dropped.
        drop_unsolved: Whether a problem without a right response is dropped. It may be hard, or its answer wrong.
    """
    if drop_solved and right == samples:
        return Drop(Reason.SOLVED, f"{right} of {samples} right")
    if drop_unsolved and right == 0:
        return Drop(Reason.UNSOLVED, f"0 of {samples} right")
    return None
