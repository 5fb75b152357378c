"""Scores an answer with reasoning-gym's own scorer; imported by the verifier's process only.

Some scorers let sympy or Python read the answer, which runs it as code. Of these, sympy's get plain mathematics only,
and Python's read literals only.
"""

import ast
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

from reasoning_gym.algorithmic import binary_matrix, spiral_matrix, string_insertion
from reasoning_gym.factory import create_dataset
from reasoning_gym.games import n_queens

from k15_plugins.rewards.answer_forms import has_form, is_right
from k15_plugins.rewards.answer_notation import written_forms
from k15_plugins.rewards.plain_mathematics import is_plain_mathematics
from k15_plugins.tasks.entries import dump_entry, load_entry

# These scorers call eval on the answer, and an answer is not code to run: literals are all they look for.
for _module in (binary_matrix, n_queens, spiral_matrix, string_insertion):
    _module.eval = ast.literal_eval  # type: ignore[attr-defined]


def score(answer: str, task: str, entry: str) -> float:
    """Score an answer.

    Args:
        answer: The final answer of a response.
        task: Name of the reasoning-gym task.
        entry: The problem's entry as `tasks.entries.dump_entry` wrote it.

    Returns:
        The scorer's value in [0, 1] for the answer, or for what it says in another notation if that is more; 0.0
            where the scorer is known to pay for this wrong answer, or would run it as code and it is no plain
            mathematics.
    """
    loaded = load_entry(entry)
    best = 0.0
    for form in dict.fromkeys(written_forms(answer, task, loaded)):
        best = max(best, _score(form, task, loaded))
        if best >= 1:
            break
    return best


@lru_cache(maxsize=4096)
def prepare(task: str, entry: str) -> None:
    """Load and compute what all answers to a problem need, before the fork for the first of them.

    Scoring the right answer leaves most of it in sympy's caches.

    Args:
        task: Name of the reasoning-gym task.
        entry: The problem's entry as `tasks.entries.dump_entry` wrote it.
    """
    loaded = load_entry(entry)
    _scorer(task, dump_entry(loaded["config"])).score_answer(loaded["answer"], loaded)


def _score(answer: str, task: str, entry: dict[str, Any]) -> float:
    if not has_form(answer, task):
        return 0.0
    if task in _NAMES and not is_plain_mathematics(answer, _NAMES[task](entry)):
        return 0.0
    value = _scorer(task, dump_entry(entry["config"])).score_answer(answer, entry)
    return 0.0 if value >= 1 and not is_right(answer, task, entry) else value


@lru_cache(maxsize=256)
def _scorer(task: str, config: str) -> Any:
    """A dataset with the problem's settings: a few scorers, e.g. of puzzle24, look at them."""
    return create_dataset(task, **load_entry(config), size=1, seed=0)


# The scorers that let sympy read the answer, with the names that may occur in it. Functions are named too, so that an
# answer does not leave the work to sympy: the scorers of integrals pay for Integral(...) of what was asked for.
_NAMES: dict[str, Callable[[dict[str, Any]], Collection[str]]] = {
    "countdown": lambda entry: (),
    "puzzle24": lambda entry: (),
    "polynomial_multiplication": lambda entry: (
        _scorer("polynomial_multiplication", dump_entry(entry["config"])).config.variables
    ),
    "simple_integration": lambda entry: (entry["metadata"]["variable"], "C", "E", "pi"),
    "intermediate_integration": lambda entry: (entry["metadata"]["variable"], "C", "E", "pi"),
}
