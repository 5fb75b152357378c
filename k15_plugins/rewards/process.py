"""Process rewards: how much of a problem a response works out soundly, whatever its final answer.

A process reward is a reward function as TRL calls it. For each response it returns a score in [0, 1], or None where it
has none, because its judge failed: the final reward then stands alone. The rules that all in this package keep:

- The score is of the whole response, and it has a bound. A sum over steps pays for writing more of them.
- It tells which share of the *problem* is soundly done before the first error that stands. A step that brings the
  problem no further earns nothing, however right it is; an error that the response repairs counts as right.
- A response without steps, or whose steps cannot be read, scores 0.

`MirrorDescentConfig(process_reward="NAME")` mixes it with the final reward.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from k15_plugins.rewards.answers import response_text
from k15_plugins.rewards.final_answer import Completion
from k15_plugins.tasks.entries import load_entry

# Whole numbers of 18 digits at most: 7.5 is not read as 7, and a long row of digits costs no time.
_STEP = re.compile(r"(check )?(?<![\d.])(-?\d{1,18}) ([+-]) (\d{1,18}) (?:is|=) (-?\d{1,18})(?!\.?\d)")
_SUM = re.compile(r"-?\d+( [+-] \d+)+")


class ProcessReward(Protocol):
    """What `process_reward` may name: a reward function of TRL's whose scores lie in [0, 1]."""

    __name__: str

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Score a batch.

        Args:
            prompts: Problems.
            completions: Responses, plain or as messages.
            columns: The columns of the data set, and what else TRL passes.

        Returns:
            For each response a score in [0, 1], or None where there is none.
        """
        ...


class ArithmeticStepsReward:
    """The share of a sum that a response works out soundly, step by step, exact; for reasoning-gym's chain_sum.

    A step is `A + B is C`, `A - B is C`, or the same with `=`. It has to take the next term of the problem, from the
    value reached so far. Working an earlier step out again confirms it, or replaces its result and all that followed
    from it; after the word `check` a step is always such a second look. The first step that is neither ends the count.
    """

    def __init__(self) -> None:
        self.__name__ = "arithmetic_steps"

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Completion], entry: list[str], **_: Any
    ) -> list[float]:
        """Score a batch, as TRL calls it.

        Args:
            prompts: Not used.
            completions: Responses, plain or as messages.
            entry: The dataset's column of reasoning-gym entries.
            _: TRL's other arguments, not used.

        Returns:
            A score in [0, 1] for each response.

        Raises:
            ValueError: If a problem is no sum.
        """
        return [sound_share(_expression(of), response_text(each)) for of, each in zip(entry, completions, strict=True)]


def sound_share(expression: str, response: str) -> float:
    """Return which share of a sum's steps is right, up to the first error that stands at the end of the response.

    Args:
        expression: Numbers joined by `+` and `-`, separated by single spaces, such as `"4 + 3 - 2"`.
        response: Steps as in `ArithmeticStepsReward`; words between them are passed over.

    Returns:
        In [0, 1].

    Raises:
        ValueError: If the expression is no such sum.
    """
    if not _SUM.fullmatch(expression):
        raise ValueError(f"expression must be a sum such as '4 + 3 - 2', got {expression!r}; use the task chain_sum.")
    first, *rest = expression.split()
    terms = [(sign, int(term)) for sign, term in zip(rest[::2], rest[1::2], strict=True)]
    values = [int(first)]  # reached so far, the start among them
    for check, left, sign, right, result in _STEP.findall(response):
        open_terms = terms[: len(values) - 1] if check else terms[: len(values)]
        step = ((sign, int(right)), int(left))
        places = [place for place, each in enumerate(zip(open_terms, values, strict=False)) if each == step]
        if not places:
            break
        place = places[-1]
        if place == len(values) - 1 or values[place + 1] != int(result):
            values = [*values[: place + 1], int(result)]
    exact, sound = int(first), 0
    for (sign, term), value in zip(terms, values[1:], strict=False):
        exact = exact + term if sign == "+" else exact - term
        if value != exact:
            break
        sound += 1
    return sound / len(terms)


@lru_cache(maxsize=4096)
def _expression(entry: str) -> str:
    return load_entry(entry)["metadata"]["expression"]
