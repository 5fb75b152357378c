"""Long chains of thought for one-digit sums: steps that are sometimes wrong, checks, corrections (paper 2.2).

The paper warms its model up on long chains of thought which show planning, evaluation, reflection and exploration.
Here evaluation is a check that works a step out again, and reflection is the correction that a failed check makes.
One departure: the paper keeps only traces whose answers were verified. These traces keep their wrong answers as well,
so that a model which has learnt them perfectly is still wrong in a known share of the cases, and reinforcement
learning has something to find: that checking pays, and which steps deserve it.

A trace of `4 + 3 - 2`, one step checked and found wrong:
`4 + 3 is 8 . wait , check 4 + 3 is 7 , corrected . 7 - 2 is 5 . answer 5`
The last number written is always the current value, so a model needs to look for nothing else to go on.
"""

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from k15_plugins.tasks.entries import load_entry

LARGEST = 60
"""Limit of the numbers in a trace, either side of zero: six one-digit terms stay within it unless mistakes add up."""

WORDS = ("+", "-", "=", "is", ".", ",", "wait", "check", "ok", "corrected", "answer")
"""Every token of prompts and traces that is not a number."""

_OFFSETS = (-3, -2, -1, 1, 2, 3)
_EXPRESSION = re.compile(r"-?\d+( [+-] \d+)*")
_STEP = re.compile(r"(check )?(-?\d+) ([+-]) (\d+) is (-?\d+)")
_ANSWER = re.compile(r"answer (-?\d+)\s*$")


@dataclass
class StepCounts:
    """What was written in some responses.

    Attributes:
        steps: Steps that are not checks.
        wrong_steps: Those whose result is wrong for the numbers they name.
        checks: Checks of a step.
        wrong_checks: Those whose result is wrong for the numbers they name.
    """

    steps: int = 0
    wrong_steps: int = 0
    checks: int = 0
    wrong_checks: int = 0


def write_thoughts(expression: str, rng: random.Random, p_wrong: float, p_check: float) -> str:
    """Work a sum out from left to right, with mistakes, checks and corrections.

    Args:
        expression: Numbers joined by `+` and `-`, separated by single spaces, such as `"4 + 3 - 2"`.
        rng: Decides which steps are wrong, by how much, and which are checked.
        p_wrong: Probability that a step's result is wrong, by 1 to 3 in either direction.
        p_check: Probability that a step is checked. A check is always right and corrects the value.

    Returns:
        Tokens separated by single spaces; the last two are `answer` and the value reached.

    Raises:
        ValueError: If the expression is not such a sum, or one of its partial sums is beyond `LARGEST`.
    """
    if not _EXPRESSION.fullmatch(expression):
        raise ValueError(f"expression must be a sum such as '4 + 3 - 2', got {expression!r}; use the task chain_sum.")
    first, *rest = expression.split()
    value = exact = int(first)
    words = []
    for sign, term in zip(rest[::2], rest[1::2], strict=True):
        exact = _add(exact, sign, term)
        if abs(exact) > LARGEST:
            raise ValueError(f"expression {expression!r} goes beyond {LARGEST}; use one-digit terms, six at most.")
        sum_text = f"{value} {sign} {term} is"
        true = max(-LARGEST, min(LARGEST, _add(value, sign, term)))  # mistakes add up and can leave the range
        value = _near(true, rng) if rng.random() < p_wrong else true
        words.append(f"{sum_text} {value} .")
        if rng.random() < p_check:
            words.append(f"wait , check {sum_text} {true} , {'ok' if value == true else 'corrected'} .")
            value = true
    return " ".join([*words, f"answer {value}"])


def thought_rows(
    problems: Iterable[dict], p_wrong: float, p_check: float, clean_share: float, seed: int, size: int
) -> Iterator[dict[str, Any]]:
    """Write training rows for a warm start: problem after problem, round and round, a new trace each time.

    Args:
        problems: Rows with `prompt` and `entry`, the reasoning-gym entry as text.
        p_wrong: See [`write_thoughts`].
        p_check: See [`write_thoughts`].
        clean_share: Share of the rows, the first ones, that are written without mistakes.
        seed: Seed of the order of the problems and of all traces.
        size: Number of rows.

    Yields:
        `prompt` and `completion`, TRL's prompt-completion format. To a plain prompt the completion begins with
        a space, so that the two join to one text; to messages it is a message.
    """
    rng = random.Random(seed)
    pairs = [(row["prompt"], load_entry(row["entry"])["metadata"]["expression"]) for row in problems]
    for index in range(size):
        if index % len(pairs) == 0:
            rng.shuffle(pairs)
        prompt, expression = pairs[index % len(pairs)]
        p_here = 0.0 if index < clean_share * size else p_wrong
        text = write_thoughts(expression, rng, p_here, p_check)
        conversational = not isinstance(prompt, str)
        yield {
            "prompt": prompt,
            "completion": [{"role": "assistant", "content": text}] if conversational else f" {text}",
        }


def final_answer(response: str) -> str | None:
    """Return the number after the word `answer` at the very end of a response, or `None` if there is none."""
    match = _ANSWER.search(response)
    return match[1] if match else None


def count_steps(responses: Iterable[str]) -> StepCounts:
    """Count steps and checks, right and wrong, in responses written in the style of [`write_thoughts`]."""
    counts = StepCounts()
    for response in responses:
        for check, left, sign, right, result in _STEP.findall(response):
            wrong = _add(int(left), sign, right) != int(result)
            if check:
                counts.checks += 1
                counts.wrong_checks += wrong
            else:
                counts.steps += 1
                counts.wrong_steps += wrong
    return counts


def _add(value: int, sign: str, term: str) -> int:
    return value + int(term) if sign == "+" else value - int(term)


def _near(true: int, rng: random.Random) -> int:
    return rng.choice([true + offset for offset in _OFFSETS if abs(true + offset) <= LARGEST])
