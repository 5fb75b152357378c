"""Sampling by a trainer's own generation, so that data come from the same engine as rollouts: transformers or vLLM."""

from typing import Any

import torch
from transformers import set_seed

from k15_plugins.generation.transformers_generation import Generated, plain_policy


class TrlGeneration:
    """Samples responses as a `GRPOTrainer` would for its rollouts, with all of its generation settings and no others.

    TRL leaves what its own settings do not name (`suppress_tokens` ...) to the model's `generation_config`.

    Args:
        trainer: Gives model, tokenizer and engine; it is not trained.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.tokenizer = self.trainer._tokenizer
        self.trainer.model.eval()

    @torch.no_grad()
    def __call__(self, prompts: list[Any], seed: int) -> Generated:
        """Sample one response to each prompt.

        Args:
            prompts: N prompts, text or messages (images stand in them, as TRL takes them).
            seed: Seed of the sampling; vLLM follows the seed that it was started with.
        """
        set_seed(seed)
        prompt_ids, images, multimodal_fields = self.trainer._tokenize_prompts(prompts)
        with plain_policy(self.trainer.accelerator.unwrap_model(self.trainer.model)):
            completion_ids, _ = self.trainer._generate_single_turn(prompt_ids, images, multimodal_fields, 1)
        ends = set(self.trainer.eos_token_ids)
        return Generated(prompt_ids, completion_ids, [ids[-1] not in ends for ids in completion_ids])
