"""Rows for supervised training, each with its answer: TRL's `prompt` and `completion`, or `messages`, out of files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from k15_plugins.files.jsonl import read_rows
from k15_plugins.tasks.files import hub_rows

Row = dict[str, Any]
Placed = tuple[str, Row]
"""Where a row stands, in words, and the row."""

_FORMATS = "prompt and completion, both text or both messages, or messages"


def read_answered(path: str | Path, split: str = "train", subset: str | None = None) -> Iterator[Placed]:
    """Read and check rows.

    Args:
        path: A file `.jsonl`, `.jsonl.gz` or `.parquet`, or the name (or folder) of a dataset for
            `datasets.load_dataset`.
        split: Split of such a dataset.
        subset: Its subset (configuration).

    Yields:
        Rows with `prompt` and `completion`, or `messages`, and with `votes` where they have some.

    Raises:
        ValueError: If a row is wrong, naming file and line.
    """
    return checked(placed_rows(path, split, subset))


def placed_rows(path: str | Path, split: str = "train", subset: str | None = None) -> Iterator[Placed]:
    """Read rows of any form; see `read_answered`.

    Args:
        path: As there.
        split: As there.
        subset: As there.
    """
    suffixes = Path(path).suffixes
    if ".parquet" in suffixes:
        return _parquet_rows(Path(path))
    if {".jsonl", ".json"} & set(suffixes):
        return read_rows(Path(path))
    return hub_rows(str(path), split, subset)


def checked(rows: Iterable[Placed]) -> Iterator[Placed]:
    """Check rows, and leave out the columns that are none of theirs.

    Args:
        rows: As they were read.

    Raises:
        ValueError: If a row has another form, or nothing to learn.
    """
    for place, row in rows:
        found = {name: row[name] for name in ("prompt", "completion", "messages") if row.get(name) is not None}
        if row.get("tools"):
            raise ValueError(f"{place}: tools must be left out, for they are not shown to the model; write them out.")
        if set(found) == {"messages"}:
            question, answer = [], found["messages"]
        elif set(found) == {"prompt", "completion"}:
            question, answer = found["prompt"], found["completion"]
        else:
            raise ValueError(
                f"{place} must have {_FORMATS} alone, got the columns {', '.join(row) or 'none'}; rename them."
            )
        if isinstance(question, str) and isinstance(answer, str):
            fault = None if answer.strip() else "completion must not be empty, got no text"
        else:
            fault = _fault(question, answer)
        if fault:
            raise ValueError(f"{place}: {fault}; correct the row, or leave it out.")
        yield place, found | ({} if row.get("votes") is None else {"votes": row["votes"]})


def _fault(question: Any, answer: Any) -> str | None:
    """Say what is wrong with messages."""
    if not isinstance(question, list) or not isinstance(answer, list):
        return f"prompt and completion must be both text or both messages, got {question!r:.60} and {answer!r:.60}"
    for message in [*question, *answer]:
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            return f"a message must have role and content, both text, got {message!r:.60}"
    if not question and (not answer or answer[0]["role"] == "assistant"):
        return f"messages must begin with a question, got {answer!r:.60}"
    answers = [message["content"] for message in answer if message["role"] == "assistant"]
    if not answers:
        return "there must be a message of the role assistant to learn from, got none"
    if not all(text.strip() for text in answers):
        return "messages of the role assistant must not be empty, got one without text"
    return None


def _parquet_rows(path: Path) -> Iterator[Placed]:
    from pyarrow import ArrowInvalid, parquet

    if not path.is_file():
        raise ValueError(f"path must be a file, got {path}, which does not exist; correct the path.")
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(1000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except ArrowInvalid as error:
        raise ValueError(
            f"{path} must be a parquet file, as its name says, got another ({error}); rename it."
        ) from error
