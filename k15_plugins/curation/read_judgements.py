"""Responses with verdicts out of files: the samples of a run, or the rollouts of one."""

from pathlib import Path
from typing import Any

from datasets import Dataset

from k15_plugins.curation.judgements import Judgement
from k15_plugins.files.jsonl import Line, read_rows
from k15_plugins.rewards.answers import prompt_text, response_text


def read_judgements(path: Path, problems: Dataset) -> list[Judgement]:
    """Read responses with verdicts.

    Args:
        path: A folder with `samples*.jsonl` (the folder `samples` of a run), one such file, or a `rollouts.jsonl`.
        problems: What was sampled, with `prompt` and `answer`: samples name a row of it; rollouts hold both.

    Raises:
        ValueError: Naming file, line and field of what is missing or wrong.
    """
    files = sorted(path.glob("samples*.jsonl")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise ValueError(
            f"stage.samples={path} must be a folder with samples*.jsonl or a rollouts.jsonl, and is none; give the "
            "folder samples/ of a run that sampled, or the rollouts.jsonl of one that trained."
        )
    found = []
    for file in files:
        for place, row in read_rows(file):
            found += _of_samples(place, row, problems) if "samples" in row else [_of_rollout(place, row)]
    return found


def judgements_of(sampled: Any, problems: Dataset) -> list[Judgement]:
    """Return the responses of sampled problems with their verdicts.

    Args:
        sampled: `SampledProblem`s.
        problems: What was sampled, with `prompt` and `answer`.
    """
    answers = problems["answer"]
    return [
        Judgement(prompt_text(problem.prompt), answers[problem.problem], sample.response, sample.right)
        for problem in sampled
        for sample in problem.samples
    ]


def _of_samples(place: str, row: Line, problems: Dataset) -> list[Judgement]:
    number = _field(place, row, "problem", int, "the row of a problem")
    prompt = _field(place, row, "prompt", str | list, "the problem")
    if not 0 <= number < len(problems) or problems[number]["prompt"] != prompt:
        raise ValueError(
            f"{place}: problem must be a row of the task's problems, got {number} with the prompt "
            f"{prompt_text(prompt)[:60]!r}, which is not that row's; give the task that was sampled, with its sizes."
        )
    samples = _field(place, row, "samples", list, "a list of samples")
    return [
        Judgement(
            prompt_text(prompt),
            problems[number]["answer"],
            _field(f"{place}, sample {index}", sample, "response", str, "text"),
            _field(f"{place}, sample {index}", sample, "right", bool, "true or false"),
        )
        for index, sample in enumerate(samples, 1)
    ]


def _of_rollout(place: str, row: Line) -> Judgement:
    return Judgement(
        prompt_text(_field(place, row, "prompt", str | list, "the problem")),
        _field(place, row, "answer", str, "the right answer"),
        response_text(_field(place, row, "response", str | list, "what the model wrote")),
        _field(place, row, "right", bool, "true or false"),
    )


def _field(place: str, row: Any, name: str, kind: Any, words: str) -> Any:
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        given = f"got {value!r:.60}" if isinstance(row, dict) and name in row else "and is missing"
        raise ValueError(f"{place}: {name} must be {words}, {given}; give samples or rollouts as a run writes them.")
    return value
