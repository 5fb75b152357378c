"""Programming problems with tests: one JSON object a line.

TRL repeats the columns of a data set for each rollout and prints rows in warnings, so the tests stay in their file: a
row of the data set has the place of its problem there, and the reward reads it when it needs it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value

from k15_plugins.files.jsonl import raw_lines, read_rows
from k15_plugins.tasks.code_places import READERS, Place
from k15_plugins.tasks.problems import Problems, check_prompt_options, hold_out, make_prompt

TEMPLATE = (
    "{prompt}\n\nThink it through, then write the whole program in one block of code, as in\n"
    "```python\n# your program\n```"
)


def load_code_problems(
    path: str | Path,
    *,
    schema: str = "own",
    held_out: float | str | Path | None = None,
    template: str = TEMPLATE,
    system: str | None = None,
    conversational: bool = False,
) -> Problems:
    """Load programming problems; every row is checked, and none of the tests is kept.

    Args:
        path: A JSONL file; one whose name ends in `.gz` is unpacked whenever a test is needed, which is slow for a
            large one.
        schema: "own" (see `code_schemas.own`), or whose rows they are: "apps", "code_contests",
            "codeforces" (open-r1), "livecodebench", "humaneval", "mbpp".
        held_out: A share in (0, 1) of the problems, chosen by a hash of the prompt; or another file of the same
            schema; or no held-out problems.
        template: Text of the prompt, from `{prompt}`.
        system: System message; only for conversational prompts.
        conversational: Whether prompts are lists of messages.

    Returns:
        Columns `prompt`, `level`, `task` (name of the file) and `problem` (its place, see [`Place`]).

    Raises:
        ValueError: If a row is wrong, naming file, line and field; if an id occurs twice; or if held-out problems are
            in the training set too.
    """
    if schema not in READERS:
        raise ValueError(f"schema must be one of {', '.join(READERS)}, got {schema!r}; set it to that of the file.")
    check_prompt_options(template, ["prompt"], system, conversational)

    def rows_of(source: str | Path) -> dict[str, dict[str, Any]]:
        return _read(
            Path(source), schema, lambda text: make_prompt(template.format(prompt=text), system, conversational)
        )

    train, measured = hold_out(rows_of(path), held_out, path, rows_of)
    return Problems(_dataset(list(train.values()), conversational), _dataset(list(measured.values()), conversational))


def _read(path: Path, schema: str, prompt: Callable[[str], Any]) -> dict[str, dict[str, Any]]:
    """Read a file: text of the problem -> row of the data set."""
    offsets = _line_offsets(path) if path.is_file() else []
    rows: dict[str, dict[str, Any]] = {}
    ids: set[str] = set()
    for where, row in read_rows(path):
        try:
            problem = READERS[schema](row)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if problem.id in ids:
            raise ValueError(f"{where}: id must name one problem, and an earlier line has {problem.id!r} too.")
        ids.add(problem.id)
        if problem.prompt in rows:
            raise ValueError(
                f"{where}: the prompt of {problem.id!r} is that of an earlier line; remove one of the two."
            )
        offset = offsets[int(where.rpartition(" ")[2]) - 1]
        rows[problem.prompt] = {
            "prompt": prompt(problem.prompt),
            "level": problem.level,
            "task": Path(path.name.removesuffix(".gz")).stem,
            "problem": Place(str(path.resolve()), offset, schema, problem.id, problem.language).dump(),
        }
    if not rows:
        raise ValueError(f"{path} must hold at least one problem, got none.")
    return rows


def _line_offsets(path: Path) -> list[int]:
    offsets, offset = [], 0
    for line in raw_lines(path):
        offsets.append(offset)
        offset += len(line)
    return offsets


def _dataset(rows: list[dict[str, Any]], conversational: bool) -> Dataset:
    text = Value("string")
    features = Features(
        {
            "prompt": [{"role": text, "content": text}] if conversational else text,
            "level": Value("int64"),
            "task": text,
            "problem": text,
        }
    )
    return Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)
