"""Accuracy and tokens per answer of a model on problems, sampled by transformers."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from k15_plugins.generation.transformers_generation import TransformersGeneration
from k15_plugins.numbers import check_numbers, check_whole_numbers
from k15_plugins.samples import SampledProblem
from k15_plugins.samples.draw import sample_problems


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate`.

    Attributes:
        accuracy: Share of the responses whose final answer is right.
        mean_tokens: Mean length of the responses, tokens, end-of-sequence token included.
        truncated_share: Share of the responses that reached `max_new_tokens` without an end.
        problems: Every problem with its responses.
    """

    accuracy: float
    mean_tokens: float
    truncated_share: float
    problems: list[SampledProblem]


def evaluate(
    model: Any,
    tokenizer: Any,
    problems: Dataset,
    reward_func: Callable[..., list[float | None]],
    *,
    max_new_tokens: int,
    num_samples: int = 1,
    batch_size: int = 128,
    temperature: float = 1.0,
    seed: int = 0,
) -> Evaluation:
    """Sample responses to each problem and score them; the random state outside is left as it was.

    Args:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer.
        problems: Rows with `prompt` (text or messages) and the columns that `reward_func` needs.
        reward_func: TRL reward function that gives 1 for a right final answer.
        max_new_tokens: Longest response, tokens.
        num_samples: Responses to a problem.
        batch_size: Responses that are sampled at once.
        temperature: Of the sampling; 0 takes the most probable token.
        seed: Of the sampling.

    Raises:
        ValueError: If there is no problem, or a number is out of its range.
    """
    check_whole_numbers(max_new_tokens=max_new_tokens, num_samples=num_samples, batch_size=batch_size)
    check_numbers(temperature=temperature)
    if not len(problems):
        raise ValueError("problems must have at least one row, got none; give problems with a column prompt.")
    if "prompt" not in problems.column_names:
        raise ValueError(f"problems must have a column prompt, got {', '.join(problems.column_names)}; rename yours.")
    for name, value in (("max_new_tokens", max_new_tokens), ("num_samples", num_samples), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, got {value}; raise it.")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or more, got {temperature}; set 0 for the likeliest responses.")
    if inspect.isclass(reward_func) or not callable(reward_func):
        raise ValueError(
            f"reward_func must be a reward function, got {reward_func!r:.100}; give the function or object."
        )
    if not hasattr(model, "generate"):
        raise ValueError(f"model must be a model that is loaded, got {model!r:.100}; load it, as by from_pretrained.")
    if not callable(tokenizer):
        raise ValueError(f"tokenizer must be the model's tokenizer, got {tokenizer!r:.100}; load it beside the model.")
    generate = TransformersGeneration(model, tokenizer, max_new_tokens=max_new_tokens, temperature=temperature)
    batches = sample_problems(
        generate, problems, reward_func, num_samples=num_samples, batch_size=batch_size, seed=seed
    )
    sampled = [problem for batch in batches for problem in batch]
    responses = [sample for problem in sampled for sample in problem.samples]
    return Evaluation(
        accuracy=sum(sample.right for sample in responses) / len(responses),
        mean_tokens=sum(sample.tokens for sample in responses) / len(responses),
        truncated_share=sum(sample.truncated for sample in responses) / len(responses),
        problems=sampled,
    )
