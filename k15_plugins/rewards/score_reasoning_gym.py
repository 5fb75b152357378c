"""Scores an answer with reasoning-gym's own scorer; imported by the verifier's process only.

A scorer may compute with the answer, and some let sympy read it, which can run code. The process limits time and
memory, it is no sandbox.
"""

import ast
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from reasoning_gym.algorithmic import binary_matrix, spiral_matrix, string_insertion
from reasoning_gym.factory import create_dataset
from reasoning_gym.games import n_queens

from k15_plugins.tasks.entries import dump_entry, load_entry

# These scorers call eval on the answer, and an answer is not code to run: literals are all they look for.
for _module in (binary_matrix, n_queens, spiral_matrix, string_insertion):
    _module.eval = ast.literal_eval  # type: ignore[attr-defined]


def score(answer: str, task: str, entry: str) -> float:
    """Score an answer.

    Args:
        answer (`str`): The final answer of a response.
        task (`str`): Name of the reasoning-gym task.
        entry (`str`): The problem's entry as `tasks.entries.dump_entry` wrote it.

    Returns:
        `float`: The scorer's value in [0, 1]; 0.0 where the scorer is known to pay for this wrong answer.
    """
    loaded = load_entry(entry)
    if task in _DEMANDS and not _DEMANDS[task](answer, loaded):
        return 0.0
    return _scorer(task, dump_entry(loaded["config"])).score_answer(answer, loaded)


@lru_cache(maxsize=256)
def _scorer(task: str, config: str) -> Any:
    """A dataset with the problem's settings: a few scorers, e.g. of puzzle24, look at them."""
    return create_dataset(task, **load_entry(config), size=1, seed=0)


def _near(answer: str, entry: dict[str, Any]) -> bool:
    return abs(Fraction(answer.replace(",", "")) - Fraction(entry["answer"])) <= 1e-4


def _same_word(answer: str, entry: dict[str, Any]) -> bool:
    return answer.casefold() == entry["answer"].casefold()


def _same_numbers(answer: str, entry: dict[str, Any]) -> bool:
    return sorted(map(int, re.findall(r"\d+", answer))) == sorted(entry["metadata"]["numbers"])


# What some scorers of reasoning-gym 0.1.25 forget to ask for; a policy finds such gaps.
_DEMANDS: dict[str, Callable[[str, dict[str, Any]], bool]] = {
    "coin_flip": _near,  # full marks for "0" where the answer is 0.5
    "game_of_life_halting": _same_word,  # full marks for every answer
    "puzzle24": _same_numbers,  # full marks for 24 made of other numbers
}
