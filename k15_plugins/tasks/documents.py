"""Documents to pretrain on (paper 2.5.1): from files, from the Hub, and those that every Python brings along."""

import pydoc_data.topics
import sysconfig
from pathlib import Path
from typing import Any

from k15_plugins.extras import optional_import
from k15_plugins.tasks.answered import placed_rows


def read_documents(path: str, *, column: str = "text", split: str = "train", subset: str | None = None) -> list[str]:
    """Read documents.

    Args:
        path: A JSONL file (also as `.jsonl.gz`), a parquet file, or the name of a data set for
            `datasets.load_dataset`.
        column: Of the text.
        split: Of a data set.
        subset: Subset (configuration) of a data set.

    Raises:
        ValueError: Naming the place, if a file is missing or empty, or a row has no text.
    """
    if Path(path).suffix in (".jsonl", ".gz", ".parquet") and not Path(path).is_file():
        raise ValueError(f"path={path} must be a file of documents, which does not exist; correct it.")
    texts = []
    for where, row in placed_rows(path, split, subset):
        if column not in row:
            raise ValueError(f"{where} has no column {column!r}; it has {', '.join(row)}.")
        if not isinstance(row[column], str) or not row[column].strip():
            raise ValueError(
                f"{where}: {column} must be text, got {row[column]!r:.60}; correct the row, or set column."
            )
        texts.append(row[column])
    if not texts:
        raise ValueError(f"{path} must hold documents, got none; give another file.")
    return texts


def english() -> list[str]:
    """Return the chapters of Python's own help, 460 kB of English."""
    return [text for _, text in sorted(pydoc_data.topics.topics.items())]


def python_sources(size: int = 4_000_000) -> list[str]:
    """Return files of Python's standard library, in the order of their names.

    Args:
        size: Characters, about.
    """
    found: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if sum(map(len, found)) >= size:
            break
        found.append(path.read_text(encoding="utf-8"))
    return found


def answered_questions(task: str, size: int, seed: int = 0, **settings: Any) -> list[str]:
    """Write questions of reasoning-gym with their answers, synthetic texts of a level.

    Args:
        task: Its name, such as `chain_sum`.
        size: Questions.
        seed: Seed of the questions.
        **settings: Of the task.

    Raises:
        ValueError: If there is no such task or setting.
    """
    with optional_import():
        import reasoning_gym

    try:
        entries = reasoning_gym.create_dataset(task, size=size, seed=seed, **settings)
    except (ValueError, TypeError, AssertionError) as error:
        raise ValueError(
            f"task must be one of reasoning-gym with its settings, got {task!r} {settings}: {error}."
        ) from error
    return [f"{entry['question']}\n{entry['answer']}" for entry in entries]
