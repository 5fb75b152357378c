"""A process reward as it must not be: a sum over steps, which pays for writing more of them."""

import re
from typing import Any

from k15_plugins.rewards.answers import response_text

_STEP = re.compile(r"(-?\d+) ([+-]) (\d+) is (-?\d+)")


def sum_of_right_steps(completions: list[Any], **_: Any) -> list[float]:
    """Give 0.1 for each step or check whose arithmetic is right, up to 1, whatever the problem asks.

    Args:
        completions: Responses, plain or as messages.
        _: TRL's other arguments, not used.
    """
    return [min(1.0, 0.1 * sum(map(_is_right, _STEP.findall(response_text(each))))) for each in completions]


def _is_right(step: tuple[str, str, str, str]) -> bool:
    left, sign, right, result = step
    return (int(left) + int(right) if sign == "+" else int(left) - int(right)) == int(result)
