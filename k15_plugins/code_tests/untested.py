"""Problems without tests, with the programs that were submitted for them: one JSON object a line."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from k15_plugins.files.jsonl import read_rows
from k15_plugins.sandbox import Program

LANGUAGES = ("python", "cpp")
_KNOWN = ("id", "prompt", "submissions", "generator", "language", "cpu_seconds", "memory_mb", "level")


@dataclass(frozen=True)
class UntestedProblem:
    """A problem without tests.

    Attributes:
        id: Its name, unique in its file.
        prompt: Its statement.
        submissions: Programs that are said to solve it, each once.
        generator: A program that writes inputs, or None if a model is to write it.
        limits: The fields `cpu_seconds`, `memory_mb`, `language` and `level` of the row, as far as it has them; they
            are handed on.
        cpu_seconds: Limit of a run of a submission.
        memory_mb: Limit of a run, in MiB.
    """

    id: str
    prompt: str
    submissions: tuple[Program, ...]
    generator: str | None
    limits: dict[str, Any]
    cpu_seconds: float = 10.0
    memory_mb: int = 512

    def chosen_submissions(self, number: int, seed: int) -> tuple[Program, ...]:
        """Choose submissions by chance, the same ones at each call; all, if there are no more.

        Args:
            number: How many.
            seed: Of the choice.
        """
        if len(self.submissions) <= number:
            return self.submissions
        return tuple(random.Random(f"{seed} {self.id}").sample(self.submissions, number))


def read_untested(path: str | Path) -> list[UntestedProblem]:
    """Read a file of problems without tests.

    Args:
        path: A JSONL file. Each row has `id`, `prompt` and `submissions`, a list of sources, or of
            `{"language": "python" or "cpp", "source": ...}`; it may have a `generator`, and `cpu_seconds`,
            `memory_mb`, `language` and `level` as in `tasks.code_schemas.own`.

    Raises:
        ValueError: If a row is wrong, naming file, line and field; or if an id or a prompt occurs twice.
    """
    problems: list[UntestedProblem] = []
    ids: set[str] = set()
    prompts: set[str] = set()
    for where, row in read_rows(Path(path)):
        try:
            problem = _problem(row)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        for name, value, others in (("id", problem.id, ids), ("prompt", problem.prompt, prompts)):
            if value in others:
                raise ValueError(
                    f"{where}: {name} must name one problem, and an earlier line has {value[:100]!r} too; remove one."
                )
            others.add(value)
        problems.append(problem)
    if not problems:
        raise ValueError(f"{path} must hold at least one problem, got none; give another file.")
    return problems


def _problem(row: dict[str, Any]) -> UntestedProblem:
    if unknown := [key for key in row if key not in _KNOWN]:
        raise ValueError(f"a problem has no field {unknown[0]!r}; it has {', '.join(_KNOWN)}.")
    for key in ("id", "prompt"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise ValueError(f"{key} must be text that is not empty, got {row.get(key)!r:.100}; set it.")
    if not isinstance(row.get("submissions"), list):
        raise ValueError(f"submissions must be a list of programs, got {row.get('submissions')!r:.100}; set it.")
    generator = row.get("generator")
    if generator is not None and not isinstance(generator, str):
        raise ValueError(f"generator must be the source of a Python program, got {generator!r:.100}; correct it.")
    for key in ("cpu_seconds", "memory_mb"):
        value = row.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            raise ValueError(f"{key} must be a number above 0, got {value!r:.100}; correct it, or leave it out.")
    if row.get("language") not in (None, *LANGUAGES):
        raise ValueError(f"language must be python or cpp, got {row['language']!r:.100}; correct it.")
    level = row.get("level")
    if level is not None and (isinstance(level, bool) or not isinstance(level, int) or level < 0):
        raise ValueError(f"level must be a whole number from 0, got {level!r:.100}; correct it, or leave it out.")
    # A copy of a program has no opinion of its own.
    programs = dict.fromkeys(_submission(number, each) for number, each in enumerate(row["submissions"]))
    limits = {key: row[key] for key in ("language", "cpu_seconds", "memory_mb", "level") if row.get(key) is not None}
    return UntestedProblem(
        id=row["id"],
        prompt=row["prompt"],
        submissions=tuple(Program(source, language) for language, source in programs),
        generator=generator,
        limits=limits,
        cpu_seconds=float(limits.get("cpu_seconds", 10.0)),
        memory_mb=int(limits.get("memory_mb", 512)),
    )


def _submission(number: int, given: Any) -> tuple[str, str]:
    language, source = ("python", given) if isinstance(given, str) else (None, None)
    if isinstance(given, dict):
        language, source = given.get("language"), given.get("source")
    if not isinstance(source, str) or not source.strip():
        raise ValueError(
            f"submissions[{number}] must be the source of a program, or language and source, got {given!r:.100}; "
            "correct it."
        )
    if language not in LANGUAGES:
        raise ValueError(f"submissions[{number}].language must be python or cpp, got {language!r:.100}; correct it.")
    return language, source
