"""Several responses to each of some problems, with verdicts and lengths, and the files that hold them.

Evaluation measures them, shortest rejection sampling and the preference pairs are chosen from them.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from k15_plugins.files.jsonl import Line, append_lines, read_lines


@dataclass(frozen=True)
class Sample:
    """One response.

    Attributes:
        response: Its text, without special tokens.
        ids: Its tokens as they were sampled, end-of-sequence token included if it ended.
        right: Whether the final answer is right.
        truncated: Whether it reached the limit of tokens without an end.
        answer: The final answer as the reward function found it, for majority votes.
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
        problem: Row of the problem in its data set.
        prompt: The prompt, text or messages.
        prompt_ids: The prompt's tokens as the model saw them, without padding.
        samples: In the order in which they were sampled.
        task: Task of the problem.
        level: Difficulty of the problem, 0 = easiest.
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
        problems: Problems with their samples.

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
    for problem in problems:
        if not problem.samples:
            raise ValueError(f"problems must have samples, got problem {problem.problem} without any; leave it out.")
        for sample in problem.samples:
            if not isinstance(sample.right, bool | np.bool_):
                raise ValueError(
                    f"right of a sample must be true or false, got {sample.right!r:.100} for problem "
                    f"{problem.problem}; compare rewards with a threshold, as reward >= 0.5."
                )
            if not len(sample.ids):
                raise ValueError(
                    f"ids of a sample must hold its tokens, got none for problem {problem.problem}; give them, the "
                    "end of sequence included."
                )


def write_samples(path: Path, problems: Iterable[SampledProblem]) -> None:
    """Append problems to a file, a line of JSON each; beside the `ids` of a sample stands their number, `tokens`.

    Args:
        path: The file; it is made if missing.
        problems: What to append.
    """
    append_lines(path, map(_to_line, problems))


def read_samples(path: Path) -> list[SampledProblem]:
    """Read the samples of a file, or of all `samples*.jsonl` of a folder, in the order of their problems.

    A last line that a kill cut short is passed over; its problem counts as not sampled.

    Args:
        path: File or folder.

    Raises:
        ValueError: If there are no such files.
    """
    files = sorted(path.glob("samples*.jsonl")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise ValueError(f"{path} holds no samples (samples*.jsonl); give the folder of a run that sampled.")
    problems = [_from_line(line) for file in files for line in read_lines(file)]
    return sorted(problems, key=lambda each: each.problem)


def _from_line(line: Line) -> SampledProblem:
    fields = dict(line)
    samples = [
        Sample(**{key: value for key, value in one.items() if key != "tokens"}) for one in fields.pop("samples")
    ]
    return SampledProblem(**fields, samples=samples)


def _to_line(problem: SampledProblem) -> Line:
    fields = asdict(problem)
    for written, sample in zip(fields["samples"], problem.samples, strict=True):
        written["tokens"] = sample.tokens
    return fields
