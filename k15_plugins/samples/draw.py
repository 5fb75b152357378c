"""Several scored responses to each of many problems, batch by batch, so that a stopped run can go on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datasets import Dataset

from k15_plugins.files.jsonl import drop_half_line
from k15_plugins.samples import Sample, SampledProblem, read_samples, write_samples


def sample_problems(
    generate: Any,
    problems: Dataset,
    reward_func: Callable[..., list[float | None]],
    *,
    num_samples: int,
    batch_size: int,
    seed: int = 0,
    done: frozenset[int] = frozenset(),
    part: tuple[int, int] = (0, 1),
) -> Iterator[list[SampledProblem]]:
    """Sample and score the problems of a data set, a batch at a time.

    A batch always holds the same problems and has a seed of its own, so that what one run left out another adds
    exactly as it would have been, as long as `num_samples` and `batch_size` stay.

    Args:
        generate: The engine.
        problems: Rows with `prompt` and the columns that `reward_func` needs; `task` and `level` are kept.
        reward_func: TRL reward function that gives at least 0.5 for a right final answer. If it has a
            method `extract(completion)`, that gives the final answer for majority votes.
        num_samples: Responses to a problem.
        batch_size: Responses that are sampled at once; the problems of a batch come whole.
        seed: Seed of the sampling.
        done: Rows of problems that are not to be sampled again.
        part: Which share of the batches this process samples, and of how many: (rank, processes).

    Yields:
        The problems of a batch, without those that are done.
    """
    step = max(1, batch_size // num_samples)
    for number, start in enumerate(range(0, len(problems), step)):
        rows = range(start, min(start + step, len(problems)))
        if number % part[1] == part[0] and not done.issuperset(rows):
            batch = _sample_rows(
                generate, problems, rows, reward_func, num_samples, (seed * 1_000_003 + number) % 2**32
            )
            yield [problem for problem in batch if problem.problem not in done]


def _sample_rows(
    generate: Any, problems: Dataset, rows: range, reward_func: Any, num_samples: int, seed: int
) -> list[SampledProblem]:
    repeated = problems.select([row for row in rows for _ in range(num_samples)])
    prompts = list(repeated["prompt"])
    generated = generate(prompts, seed)
    responses = generate.tokenizer.batch_decode(generated.completion_ids, skip_special_tokens=True)
    completions = (
        responses if isinstance(prompts[0], str) else [[{"role": "assistant", "content": text}] for text in responses]
    )
    columns = {name: list(repeated[name]) for name in repeated.column_names if name != "prompt"}
    rewards = _rewards_of(
        reward_func, prompts=prompts, completions=completions, completion_ids=generated.completion_ids, **columns
    )
    extract = getattr(reward_func, "extract", lambda completion: None)
    samples = [
        Sample(
            response=response,
            ids=ids,
            right=reward is not None and reward >= 0.5,
            truncated=truncated,
            answer=extract(completion),
        )
        for response, ids, reward, truncated, completion in zip(
            responses, generated.completion_ids, rewards, generated.truncated, completions, strict=True
        )
    ]
    return [
        SampledProblem(
            problem=row,
            prompt=prompts[first],
            prompt_ids=generated.prompt_ids[first],
            samples=samples[first : first + num_samples],
            task=columns.get("task", [""] * len(prompts))[first] or "",
            level=columns.get("level", [0] * len(prompts))[first] or 0,
        )
        for row, first in zip(rows, range(0, len(prompts), num_samples), strict=True)
    ]


def _rewards_of(reward_func: Any, **batch: Any) -> list[float | None]:
    name = getattr(reward_func, "__name__", type(reward_func).__name__)
    try:
        rewards = reward_func(**batch)
    except ValueError:  # which says itself what is wrong
        raise
    except Exception as error:
        raise ValueError(
            f"the reward function {name} failed with {type(error).__name__}: {error}; mend it."
        ) from error
    number = len(batch["prompts"])
    try:
        numbers = [None if each is None else float(each) for each in rewards]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != number:
        raise ValueError(
            f"the reward function {name} must return a list of {number} numbers, one a response, got "
            f"{rewards!r:.100}; mend it."
        )
    return numbers


def sample_to_files(
    generate: Any,
    problems: Dataset,
    reward_func: Callable[..., list[float | None]],
    folder: Path,
    *,
    num_samples: int,
    batch_size: int,
    seed: int = 0,
    part: tuple[int, int] = (0, 1),
    progress: Callable[[list[SampledProblem]], None] = lambda batch: None,
) -> None:
    """Sample the problems of a data set that a folder does not hold yet, and add them to it as they come.

    Args:
        generate: The engine.
        problems: See [`sample_problems`].
        reward_func: See [`sample_problems`].
        folder: Takes `samples.RANK.jsonl`, to be read by `read_samples`.
        num_samples: Responses to a problem.
        batch_size: Responses that are sampled at once.
        seed: Seed of the sampling.
        part: This process's rank, and the number of processes.
        progress: Called with each batch when it is written, and first with what was there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mine = folder / f"samples.{part[0]}.jsonl"
    if mine.exists():
        drop_half_line(mine)
    there = read_samples(folder) if list(folder.glob("samples*.jsonl")) else []
    progress(there)
    done = frozenset(problem.problem for problem in there)
    batches = sample_problems(
        generate,
        problems,
        reward_func,
        num_samples=num_samples,
        batch_size=batch_size,
        seed=seed,
        done=done,
        part=part,
    )
    for batch in batches:
        write_samples(mine, batch)
        progress(batch)
