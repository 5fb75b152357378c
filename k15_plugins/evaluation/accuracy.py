"""Accuracy and tokens per answer of a model on problems, sampled by transformers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate` over P problems.

    Attributes:
        accuracy: share of the responses whose final answer is right.
        mean_tokens: mean length of the responses, tokens, end-of-sequence token included.
        truncated_share: share of the responses that reached `max_new_tokens` without an end.
        responses: the P responses.
        right: whether each is right.
        tokens: the length of each.
    """

    accuracy: float
    mean_tokens: float
    truncated_share: float
    responses: list[str]
    right: list[bool]
    tokens: list[int]


@torch.no_grad()
def evaluate(
    model: Any,
    tokenizer: Any,
    problems: Dataset,
    reward_func: Callable[..., list[float]],
    *,
    max_new_tokens: int,
    batch_size: int = 128,
    temperature: float = 1.0,
    seed: int = 0,
) -> Evaluation:
    """Sample one response to each problem and score it; the random state outside is left as it was.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        problems: rows with `prompt` (text or messages) and the columns that `reward_func` needs.
        reward_func: TRL reward function that gives 1 for a right final answer.
        max_new_tokens: longest response, tokens.
        batch_size: responses that are sampled at once.
        temperature: of the sampling; 0 takes the most probable token.
        seed: of the sampling.
    """
    was_training = model.training
    model.eval()
    completion_ids: list[list[int]] = []
    truncated = 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(problems), batch_size):
            ids_BT = _generate(
                model, tokenizer, problems[start : start + batch_size]["prompt"], max_new_tokens, temperature
            )
            ended_BT = (ids_BT == tokenizer.eos_token_id).int()
            lengths_B = torch.where(ended_BT.any(dim=1), ended_BT.argmax(dim=1) + 1, ids_BT.size(1))
            truncated += int((~ended_BT.any(dim=1)).sum())
            completion_ids += [ids[:length].tolist() for ids, length in zip(ids_BT, lengths_B, strict=True)]
    model.train(was_training)
    responses = tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
    tokens = [len(ids) for ids in completion_ids]
    columns = {name: list(problems[name]) for name in problems.column_names if name != "prompt"}
    prompts = list(problems["prompt"])
    completions = (
        responses if isinstance(prompts[0], str) else [[{"role": "assistant", "content": text}] for text in responses]
    )
    rewards = reward_func(prompts=prompts, completions=completions, completion_ids=completion_ids, **columns)
    right = [bool(reward) for reward in rewards]
    return Evaluation(
        accuracy=sum(right) / len(right),
        mean_tokens=sum(tokens) / len(tokens),
        truncated_share=truncated / len(tokens),
        responses=responses,
        right=right,
        tokens=tokens,
    )


def _generate(model: Any, tokenizer: Any, prompts: list, max_new_tokens: int, temperature: float) -> Tensor:
    conversational = not isinstance(prompts[0], str)
    if conversational:
        prompts = tokenizer.apply_chat_template(prompts, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(
        prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=not conversational
    ).to(model.device)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    ids_BT = model.generate(**inputs, max_new_tokens=max_new_tokens, pad_token_id=tokenizer.pad_token_id, **sampling)
    return ids_BT[:, inputs["input_ids"].size(1) :]
