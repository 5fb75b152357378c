"""Where a programming problem stands: file and line, and how its row is read. Loads no library of data sets."""

import functools
import json
import os
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from k15_plugins.files.jsonl import open_bytes
from k15_plugins.tasks import assert_schemas, code_schemas, public_schemas
from k15_plugins.tasks.code_schemas import CodeProblem

READERS: dict[str, Callable[[dict[str, Any]], CodeProblem]] = {
    "own": code_schemas.own,
    "apps": public_schemas.apps,
    "code_contests": public_schemas.code_contests,
    "codeforces": public_schemas.codeforces,
    "livecodebench": public_schemas.livecodebench,
    "humaneval": assert_schemas.humaneval,
    "mbpp": assert_schemas.mbpp,
}
"""How the rows of each schema are read."""
BENCHMARKS = ("humaneval", "mbpp", "livecodebench", "codeforces")
"""Those that are of a benchmark, which has the same name."""


@dataclass(frozen=True)
class Place:
    """Where a problem stands.

    Attributes:
        file: The JSONL file; packed by gzip, if its name ends in `.gz`.
        offset: Of the first byte of its line, unpacked.
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


def read_problem(place: Place) -> CodeProblem:
    """Read a problem with its tests from its file.

    Args:
        place: Where it stands.

    Raises:
        ValueError: If there is another problem now.
    """
    status = os.stat(place.file)
    return _read(place, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _read(place: Place, changed_ns: int, size_bytes: int) -> CodeProblem:
    with open_bytes(Path(place.file)) as file:
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
