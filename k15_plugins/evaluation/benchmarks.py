"""The seeds' benchmarks by name (paper 3.1), from the Hub or from a local JSONL file with the same columns.

One scorer for all: the reward functions of `k15_plugins.rewards`.
Benchmarks of code and of images (LiveCodeBench, Codeforces, MathVista) need rewards that this package does not have.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset

from k15_plugins.files.jsonl import read_rows
from k15_plugins.tasks.problems import Problems, did_you_mean, make_prompt, to_dataset

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
    name: str, path: str | None = None, system: str | None = None, conversational: bool = True, seed: int = 0
) -> Problems:
    """Load a benchmark as held-out problems.

    Args:
        name: Key of `BENCHMARKS`.
        path: A JSONL file with the columns of the Hub's data set; by default that is loaded.
        system: System message; only for conversational prompts.
        conversational: Whether prompts are lists of messages.
        seed: Seed of the order of choices.

    Returns:
        None to train on; `task` is the name, `level` the benchmark's own or 0.

    Raises:
        ValueError: If the name is unknown, the file is missing, or a row lacks a column.
    """
    benchmark = find_benchmark(name)
    if path is not None and not Path(path).is_file():
        raise ValueError(f"task.path={path} does not exist; give a JSONL file with the columns of {benchmark.path}.")
    data = (
        load_dataset(benchmark.path, benchmark.subset, split=benchmark.split)
        if path is None
        else Dataset.from_list([row for _, row in read_rows(Path(path))])
    )
    needed = [benchmark.problem, benchmark.answer, *benchmark.wrong, *([benchmark.level] if benchmark.level else [])]
    if missing := [column for column in needed if column not in data.column_names]:
        raise ValueError(
            f"{path or benchmark.path} has no column {missing[0]!r}; it has {', '.join(data.column_names)}."
        )
    rows = []
    for row in data:
        text, answer = question(benchmark, row, seed)
        prompt = make_prompt(text, system, conversational)
        level = int(row[benchmark.level]) if benchmark.level else 0
        rows.append({"prompt": prompt, "answer": answer, "level": level, "task": name})
    return Problems(to_dataset([], conversational, False), to_dataset(rows, conversational, False))


def find_benchmark(name: str) -> Benchmark:
    """Return a benchmark.

    Args:
        name: Key of `BENCHMARKS`.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in BENCHMARKS:
        raise ValueError(
            f"name must be a benchmark, got {name!r}{did_you_mean(name, BENCHMARKS)}; set one of "
            f"{', '.join(BENCHMARKS)}."
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
