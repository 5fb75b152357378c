"""Problems from JSONL files and Hub datasets, checked row by row when they are loaded."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from k15_plugins.files.jsonl import read_rows
from k15_plugins.tasks.problems import (
    Problems,
    check_prompt_options,
    did_you_mean,
    hold_out,
    make_prompt,
    to_dataset,
)

logger = logging.getLogger(__name__)


def load_problems(
    path: str | Path,
    *,
    split: str = "train",
    subset: str | None = None,
    held_out: float | str | Path | None = None,
    held_out_split: str = "train",
    prompt_column: str = "prompt",
    answer_column: str = "answer",
    answer_pattern: str | None = None,
    level_column: str | None = None,
    domain_column: str | None = None,
    template: str = "{prompt}",
    system: str | None = None,
    conversational: bool = False,
) -> Problems:
    """Load problems from a JSONL file or a Hub dataset.

    Rows whose prompt was there before are dropped, with a line in the log.

    Args:
        path: A JSONL file (also as `.jsonl.gz`), or the name (or folder) of a dataset for `datasets.load_dataset`.
        split: Split of a Hub dataset.
        subset: Subset (configuration) of a Hub dataset, e.g. "main".
        held_out: A share in (0, 1) of the problems, chosen by a hash of the
            prompt; or another file or dataset; or no held-out problems.
        held_out_split: Split of `held_out` where that is a Hub dataset, e.g. "test".
        prompt_column: Column of the prompts: text, or messages if `conversational`.
        answer_column: Column of the right answers: text or a number.
        answer_pattern: Regular expression whose last group is the answer within the column, e.g.
            `"#### (.+)"`; None takes the whole column.
        level_column: Column of the difficulty levels, integers from 0; None gives every problem
            level 0.
        domain_column: Column of the domains, which become the tasks' names; None gives the name of the file.
        template: Text of the prompt, from `{prompt}`.
        system: System message; only for conversational prompts.
        conversational: Whether prompts are lists of messages.

    Returns:
        In the order of the files; the task is the domain, or else the name of the file or dataset.

    Raises:
        ValueError: If a row is wrong, or held-out problems are in the training set too.
    """
    if not isinstance(path, str | Path):
        raise ValueError(f"path must be a file or the name of a data set, got {path!r:.100}; give one.")
    check_prompt_options(template, ["prompt"], system, conversational)
    reader = _Reader(
        prompt_column, answer_column, answer_pattern, level_column, domain_column, template, system, conversational
    )
    rows = reader.read(path, split, subset)
    sides = hold_out(rows, held_out, path, lambda other: reader.read(other, held_out_split, subset))
    train, measured = (to_dataset(list(side.values()), conversational, False) for side in sides)
    return Problems(train, measured)


class _Reader:
    """Reads rows and checks them; all files of a call are read in the same way."""

    def __init__(
        self,
        prompt_column: str,
        answer_column: str,
        answer_pattern: str | None,
        level_column: str | None,
        domain_column: str | None,
        template: str,
        system: str | None,
        conversational: bool,
    ) -> None:
        self._prompt_column = prompt_column
        self._answer_column = answer_column
        try:
            self._answer_pattern = None if answer_pattern is None else re.compile(answer_pattern)
        except re.error as error:
            raise ValueError(
                f"answer_pattern must be a regular expression, got {answer_pattern!r} ({error}); correct it."
            ) from error
        self._level_column = level_column
        self._domain_column = domain_column
        self._template = template
        self._system = system
        self._conversational = conversational

    def read(self, path: str | Path, split: str, subset: str | None) -> dict[str, dict[str, Any]]:
        """Read a file or dataset: text of the question -> problem."""
        source = read_rows(Path(path)) if _is_file(path) else hub_rows(str(path), split, subset)
        problems: dict[str, dict[str, Any]] = {}
        repeated = 0
        for where, row in source:
            text, prompt = self._prompt(where, row)
            if text in problems:
                repeated += 1
                continue
            problems[text] = {
                "prompt": prompt,
                "answer": self._answer(where, row),
                "level": self._level(where, row),
                "task": self._domain(where, row) or Path(Path(path).name.removesuffix(".gz")).stem,
            }
        if not problems:
            raise ValueError(
                f"path must have at least one row, got {path} with none; set a file or split with problems."
            )
        if repeated:
            logger.warning("%s: %d rows repeat the prompt of an earlier row and are left out", path, repeated)
        return problems

    def _prompt(self, where: str, row: dict[str, Any]) -> tuple[str, Any]:
        value = _column(where, row, self._prompt_column, "prompt_column")
        if isinstance(value, str) and value.strip():
            return value.strip(), make_prompt(self._template.format(prompt=value), self._system, self._conversational)
        if self._conversational and _is_messages(value):
            messages = [{"role": m["role"], "content": m["content"]} for m in value]
            if self._template != "{prompt}":
                raise ValueError(
                    f"{where}: {self._prompt_column!r} must be text for a template, got messages; leave template out."
                )
            if self._system is not None:
                messages = [{"role": "system", "content": self._system}, *messages]
            return json.dumps(value, sort_keys=True), messages
        kind = "text or messages with role and content" if self._conversational else "text"
        hint = "" if self._conversational or not _is_messages(value) else "; set conversational=true for messages"
        raise ValueError(
            f"{where}: {self._prompt_column!r} must be {kind}, and not empty, but is {value!r:.100}{hint}."
        )

    def _answer(self, where: str, row: dict[str, Any]) -> str:
        value = _column(where, row, self._answer_column, "answer_column")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            raise ValueError(
                f"{where}: {self._answer_column!r} must be text or a number, and not empty, but is {value!r:.100}."
            )
        if self._answer_pattern is None:
            return value.strip()
        matches = list(self._answer_pattern.finditer(value))
        if not matches or not (answer := matches[-1].group(matches[-1].lastindex or 0).strip()):
            raise ValueError(
                f"{where}: answer_pattern={self._answer_pattern.pattern!r} finds no answer in {value!r:.100}; "
                "correct the pattern or the row."
            )
        return answer

    def _level(self, where: str, row: dict[str, Any]) -> int:
        if self._level_column is None:
            return 0
        value = _column(where, row, self._level_column, "level_column")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(
                f"{where}: {self._level_column!r} must be an integer from 0 (easiest), but is {value!r:.100}."
            )
        return value

    def _domain(self, where: str, row: dict[str, Any]) -> str | None:
        if self._domain_column is None:
            return None
        value = _column(where, row, self._domain_column, "domain_column")
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{where}: {self._domain_column!r} must be text, and not empty, but is {value!r:.100}.")
        return value.strip()


def _column(where: str, row: dict[str, Any], column: str, option: str) -> Any:
    if column not in row:
        raise ValueError(
            f"{where} has no column {column!r}{did_you_mean(column, row)}; it has {', '.join(row)} (set {option})."
        )
    return row[column]


def _is_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(m, dict) and all(isinstance(m.get(k), str) and m[k] for k in ("role", "content")) for m in value
        )
    )


def _is_file(path: str | Path) -> bool:
    return Path(path).is_file() or Path(path).suffix in (".jsonl", ".json", ".gz")


def hub_rows(name: str, split: str, subset: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read a dataset of the Hub, or of a folder.

    Args:
        name: What `datasets.load_dataset` takes.
        split: Of the dataset.
        subset: Its configuration.

    Yields:
        Where each row stands, in words, and the row.

    Raises:
        ValueError: If it cannot be loaded.
    """
    from datasets import load_dataset

    try:
        rows = load_dataset(name, subset, split=split)
    except Exception as error:  # missing dataset, subset, split or network: the library has its own error for each
        raise ValueError(
            f"path={name} (subset {subset!r}, split {split!r}) cannot be loaded from the Hub ({error}); correct "
            "it, or give a file."
        ) from error
    for number, row in enumerate(rows):
        yield f"{name}, {split}, row {number}", row
