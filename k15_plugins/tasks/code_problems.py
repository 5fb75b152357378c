"""Programming problems with tests: one JSON object a line.

TRL repeats the columns of a data set for each rollout and prints rows in warnings, so the tests stay in their file: a
row of the data set has the place of its problem there, and the reward reads it when it needs it.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value

from k15_plugins.files.jsonl import read_rows
from k15_plugins.tasks import assert_schemas, code_schemas
from k15_plugins.tasks.code_schemas import CodeProblem
from k15_plugins.tasks.problems import Problems, check_prompt_options, is_held_out, make_prompt

READERS: dict[str, Callable[[dict[str, Any]], CodeProblem]] = {
    "own": code_schemas.own,
    "apps": code_schemas.apps,
    "code_contests": code_schemas.code_contests,
    "codeforces": code_schemas.codeforces,
    "livecodebench": code_schemas.livecodebench,
    "humaneval": assert_schemas.humaneval,
    "mbpp": assert_schemas.mbpp,
}
"""How the rows of each schema are read."""

TEMPLATE = (
    "{prompt}\n\nThink it through, then write the whole program in one block of code, as in\n"
    "```python\n# your program\n```"
)


@dataclass(frozen=True)
class Place:
    """Where a problem stands.

    Attributes:
        file: The JSONL file.
        offset: Of the first byte of its line.
        schema: Of the file, a name in `READERS`.
        id: Of the problem.
        language: In which it is to be solved.
    """

    file: str
    offset: int
    schema: str
    id: str
    language: str

    def dump(self) -> str:
        """Return the text that a data set holds."""
        return json.dumps(list(astuple(self)))

    @staticmethod
    def load(text: str) -> "Place":
        """Return the place that `dump` wrote.

        Args:
            text: What it returned.
        """
        return Place(*json.loads(text))


@functools.lru_cache(maxsize=64)
def read_problem(place: Place) -> CodeProblem:
    """Read a problem with its tests from its file.

    Args:
        place: Where it stands.

    Raises:
        ValueError: If there is another problem now.
    """
    with open(place.file, "rb") as file:
        file.seek(place.offset)
        line = file.readline()
    try:
        problem = READERS[place.schema](json.loads(line))
        if problem.id == place.id:
            return problem
    except ValueError:
        pass
    raise ValueError(
        f"{place.file} must not change while a run reads it, and at byte {place.offset} the problem {place.id!r} is "
        "gone; start the run again."
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
        path: A JSONL file.
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

    rows = rows_of(path)
    measured: dict[str, dict[str, Any]] = {}
    if isinstance(held_out, int | float):
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must be a share between 0 and 1, a file, or null for none, got {held_out}.")
        measured = {text: row for text, row in rows.items() if is_held_out(text, held_out)}
        rows = {text: row for text, row in rows.items() if text not in measured}
        if not rows or not measured:
            raise ValueError(
                f"held_out={held_out} leaves {len(rows)} problems of {path} to train on and {len(measured)} held out; "
                "choose another share or give more problems."
            )
    elif held_out is not None:
        measured = rows_of(held_out)
        if both := [text for text in measured if text in rows]:
            raise ValueError(
                f"held_out={held_out} has {len(both)} of its {len(measured)} problems in {path} too, the first is "
                f"{both[0][:100]!r}; remove them from one of the two."
            )
    return Problems(_dataset(list(rows.values()), conversational), _dataset(list(measured.values()), conversational))


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
            "task": path.stem,
            "problem": Place(str(path.resolve()), offset, schema, problem.id, problem.language).dump(),
        }
    if not rows:
        raise ValueError(f"{path} must hold at least one problem, got none.")
    return rows


def _line_offsets(path: Path) -> list[int]:
    offsets, offset = [], 0
    with path.open("rb") as file:
        for line in file:
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
