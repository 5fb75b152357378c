"""Scores an answer with reasoning-gym's own scorer; imported by the verifier's process only.

Some scorers let sympy or Python read the answer, which runs it as code. Of these, sympy's get plain mathematics only,
and Python's read literals only.
"""

import ast
import re
from collections.abc import Callable, Collection
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
        answer: The final answer of a response.
        task: Name of the reasoning-gym task.
        entry: The problem's entry as `tasks.entries.dump_entry` wrote it.

    Returns:
        The scorer's value in [0, 1]; 0.0 where the scorer is known to pay for this wrong answer, or would run
            this answer as code and it is no plain mathematics.
    """
    loaded = load_entry(entry)
    if task in _NAMES and not is_plain_mathematics(answer, _NAMES[task](loaded)):
        return 0.0
    if task in _DEMANDS and not _DEMANDS[task](answer, loaded):
        return 0.0
    return _scorer(task, dump_entry(loaded["config"])).score_answer(answer, loaded)


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


def is_plain_mathematics(text: str, names: Collection[str]) -> bool:
    """Whether a text is an expression of numbers, names, `+ - * / ** ^`, brackets and calls of known functions only.

    Nothing is evaluated.

    Args:
        text: The text.
        names: Variables and constants that may occur; functions only where sine may.

    Returns:
        False too if it is no expression at all.
    """
    if _TOKEN.sub("", text):
        return False
    try:
        nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return all(
        isinstance(node, _NODES)
        and (not isinstance(node, ast.Constant) or type(node.value) in (int, float))
        and (not isinstance(node, ast.Call) or (isinstance(node.func, ast.Name) and not node.keywords))
        and (not isinstance(node, ast.Name) or node.id in (_FUNCTIONS if id(node) in called else names))
        for node in nodes
    )


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
_FUNCTIONS = (
    *("abs", "Abs", "Rational", "sqrt", "exp", "log", "ln", "sin", "cos", "tan", "cot", "sec", "csc"),
    *("asin", "acos", "atan", "acot", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
)
_TOKEN = re.compile(
    r"\s|[-+*/^(),]|(?<![\w.])(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])|(?<![\w.])[A-Za-z]\w*(?![\w.])",
    re.ASCII,
)
_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Load, ast.Call),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.BitXor, ast.UAdd, ast.USub),
)
