"""Several responses to each of some problems, with verdicts and lengths, and the files that hold them.

Evaluation measures them, shortest rejection sampling and the preference pairs are chosen from them.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One response.

    Attributes:
        response (`str`): Its text, without special tokens.
        ids (`list[int]`): Its tokens as they were sampled, end-of-sequence token included if it ended.
        right (`bool`): Whether the final answer is right.
        truncated (`bool`): Whether it reached the limit of tokens without an end.
        answer (`str`, *optional*): The final answer as the reward function found it, for majority votes.
    """

    response: str
    ids: list[int]
    right: bool
    truncated: bool = False
    answer: str | None = None

    @property
    def tokens(self) -> int:
        """Length of the response, tokens."""
        return len(self.ids)


@dataclass(frozen=True)
class SampledProblem:
    """A problem with its samples.

    Attributes:
        problem (`int`): Row of the problem in its data set.
        prompt (`str` or `list[dict]`): The prompt, text or messages.
        prompt_ids (`list[int]`): The prompt's tokens as the model saw them, without padding.
        samples (`list[Sample]`): In the order in which they were sampled.
        task (`str`): Task of the problem.
        level (`int`): Difficulty of the problem, 0 = easiest.
    """

    problem: int
    prompt: Any
    prompt_ids: list[int]
    samples: list[Sample]
    task: str = ""
    level: int = 0


def check_problems(problems: Any) -> None:
    """Refuse what holds no problems with samples.

    Args:
        problems (`list[SampledProblem]`): Problems with their samples.

    Raises:
        ValueError: If it is something else, or empty.
    """
    if not isinstance(problems, list | tuple) or not all(isinstance(each, SampledProblem) for each in problems):
        raise ValueError(
            f"problems must be a list of SampledProblem, got {problems!r:.100}; give the problems of what evaluate "
            "returned, or what read_samples did."
        )
    if not problems:
        raise ValueError("problems must hold at least one problem, got none; sample some, as by evaluate.")


def write_samples(path: Path, problems: Iterable[SampledProblem]) -> None:
    """Append problems to a file, a line of JSON each; beside the `ids` of a sample stands their number, `tokens`.

    Args:
        path (`Path`): The file; it is made if missing.
        problems (`Iterable[SampledProblem]`): What to append.
    """
    with path.open("a", encoding="utf-8") as file:
        file.writelines(_to_json(problem) + "\n" for problem in problems)


def drop_half_line(path: Path) -> None:
    """Cut off the last line of a file if a kill left it without its end.

    Args:
        path (`Path`): The file.
    """
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def read_samples(path: Path) -> list[SampledProblem]:
    """Read the samples of a file, or of all `samples*.jsonl` of a folder, in the order of their problems.

    A last line that a kill cut short is passed over; its problem counts as not sampled.

    Args:
        path (`Path`): File or folder.

    Raises:
        ValueError: If there are no such files.
    """
    files = sorted(path.glob("samples*.jsonl")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise ValueError(f"{path} holds no samples (samples*.jsonl); give the folder of a run that sampled.")
    problems = []
    for file in files:
        # Not splitlines(): a response may hold other signs that it takes for line ends.
        with file.open(encoding="utf-8") as lines:
            problems += [_from_json(line) for line in lines if line.endswith("\n")]
    return sorted(problems, key=lambda each: each.problem)


def _from_json(line: str) -> SampledProblem:
    fields = json.loads(line)
    samples = [
        Sample(**{key: value for key, value in one.items() if key != "tokens"}) for one in fields.pop("samples")
    ]
    return SampledProblem(**fields, samples=samples)


def _to_json(problem: SampledProblem) -> str:
    fields = asdict(problem)
    for written, sample in zip(fields["samples"], problem.samples, strict=True):
        written["tokens"] = sample.tokens
    return json.dumps(fields, ensure_ascii=False)
