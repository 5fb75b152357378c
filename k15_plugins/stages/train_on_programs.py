"""A warm start on programs: short functions and their solutions (paper 2.2)."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from k15_plugins.evaluation.accuracy import evaluate
from k15_plugins.stages.supervised import save, supervise
from k15_plugins.tasks.short_functions import solutions


def train_on_programs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Dataset,
    held_out: Dataset,
    output_dir: str,
    reward_func: Callable[..., list[float | None]],
    examples: int = 128,
    max_new_tokens: int = 64,
    evaluation_batch_size: int = 64,
    seed: int = 0,
    sft: Mapping[str, Any] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> dict[str, Any]:
    """Train a model on solutions of short functions with TRL's `SFTTrainer`, measure it, and save it.

    Args:
        model: Trained in place.
        tokenizer: Its tokenizer.
        problems: Of the task `short_functions`, whose prompts are messages.
        held_out: Problems to measure on, with the same columns.
        output_dir: Folder for weights (safetensors), tokenizer and `warm_start.json`.
        reward_func: TRL reward function that gives 1.0 for a right program.
        examples: Problems whose solutions are seen, each once, drawn without replacement as far as there are so many.
        max_new_tokens: Limit of a sampled response, in tokens.
        evaluation_batch_size: Problems sampled at once when measuring.
        seed: Seed of order and sampling.
        sft: Arguments of `SFTConfig`, such as `learning_rate`.
        callbacks: Callbacks that show the progress, instead of transformers' own.

    Returns:
        What `warm_start.json` holds: `seed`, all arguments, and `before` and `after` with `accuracy`, `mean_tokens`
            and `truncated_share`.
    """

    def measure() -> dict[str, float]:
        model.eval()
        found = evaluate(
            model,
            tokenizer,
            held_out,
            reward_func,
            max_new_tokens=max_new_tokens,
            batch_size=evaluation_batch_size,
            seed=seed,
        )
        return {
            "accuracy": found.accuracy,
            "mean_tokens": found.mean_tokens,
            "truncated_share": found.truncated_share,
        }

    sft = dict(sft or {})
    before = measure()
    rows = Dataset.from_list(list(program_rows(problems, examples, seed)))
    supervise(model, tokenizer, rows, output_dir, seed, sft, callbacks)
    result = {
        "seed": seed,
        "examples": examples,
        "problems": len(problems),
        "held_out": len(held_out),
        "sft": sft,
        "before": before,
        "after": measure(),
    }
    save(result, model, tokenizer, Path(output_dir))
    return result


def program_rows(problems: Iterable[dict[str, Any]], size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Write training rows: short functions with their solutions, problem after problem, round and round.

    Args:
        problems: Rows with `prompt`, whose last message is the problem.
        size: Number of rows.
        seed: Seed of the order of the problems.

    Yields:
        `prompt` and `completion`, TRL's prompt-completion format in messages.
    """
    rng = random.Random(seed)
    known = solutions()
    prompts = [row["prompt"] for row in problems]
    for index in range(size):
        if index % len(prompts) == 0:
            rng.shuffle(prompts)
        prompt = prompts[index % len(prompts)]
        program = f"```python\n{known[prompt[-1]['content']]}```"
        yield {"prompt": prompt, "completion": [{"role": "assistant", "content": program}]}
