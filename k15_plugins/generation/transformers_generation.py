"""Sampling by the model itself, with transformers' `generate`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig


class Generated(NamedTuple):
    """Responses to N prompts.

    Attributes:
        prompt_ids: Tokens of each prompt, without padding.
        completion_ids: Tokens of each response, end-of-sequence token included if it ended.
        truncated: Whether a response reached the limit of tokens without an end.
    """

    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    truncated: list[bool]


@contextmanager
def plain_policy(model: Any) -> Iterator[None]:
    """Let a model generate by its own probabilities, whatever its `generation_config` says (`top_p`, penalties ...).

    transformers adds what stands there to every setting that a call leaves open.

    Args:
        model: The model; it gets its own settings back at the end.
    """
    owner = model.get_base_model() if hasattr(model, "get_base_model") else model
    own = owner.generation_config
    owner.generation_config = GenerationConfig()
    try:
        yield
    finally:
        owner.generation_config = own


class TransformersGeneration:
    """Samples responses with a model of transformers; the random state outside is left as it was.

    Of the model's `generation_config` only the end-of-sequence tokens count.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        max_new_tokens: Longest response, tokens.
        temperature: Of the sampling; 0 takes the most probable token.
    """

    def __init__(self, model: Any, tokenizer: Any, *, max_new_tokens: int, temperature: float = 1.0) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_new_tokens = max_new_tokens
        self.sampling: dict[str, Any] = (
            {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
        )
        of_model = model.generation_config.eos_token_id
        self.eos_ids = {tokenizer.eos_token_id, *(of_model if isinstance(of_model, list) else [of_model])} - {None}

    @torch.no_grad()
    def __call__(self, prompts: list[Any], seed: int) -> Generated:
        """Sample one response to each prompt.

        Args:
            prompts: N prompts, text or messages.
            seed: Seed of the sampling.
        """
        conversational = not isinstance(prompts[0], str)
        texts = (
            self.tokenizer.apply_chat_template(prompts, tokenize=False, add_generation_prompt=True)
            if conversational
            else prompts
        )
        inputs = self.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=not conversational
        ).to(self.model.device)
        was_training = self.model.training
        self.model.eval()
        with torch.random.fork_rng(), plain_policy(self.model):
            torch.manual_seed(seed)
            sampled_BT = self.model.generate(
                **inputs,
                max_new_tokens=self.max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=sorted(self.eos_ids),
                **self.sampling,
            )
        self.model.train(was_training)
        ids_BT = sampled_BT[:, inputs["input_ids"].size(1) :].cpu()
        ended_BT = torch.isin(ids_BT, torch.tensor(sorted(self.eos_ids)))
        ended_B = ended_BT.any(dim=1)
        lengths_B = torch.where(ended_B, ended_BT.int().argmax(dim=1) + 1, ids_BT.size(1))
        masks = inputs["attention_mask"].bool()
        return Generated(
            [ids[mask].tolist() for ids, mask in zip(inputs["input_ids"], masks, strict=True)],
            [ids[:length].tolist() for ids, length in zip(ids_BT, lengths_B, strict=True)],
            (~ended_B).tolist(),
        )
