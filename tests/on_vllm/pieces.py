"""A tiny real model on disk, for tests with a real vLLM engine."""

from typing import Any

import tiny
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from k15_plugins import MirrorDescentConfig, MirrorDescentTrainer
from k15_plugins.models.tiny_reasoner import tiny_tokenizer
from k15_plugins.trainers.megatron import MegatronMirrorDescentTrainer

BUILT: list[Any] = []


def save_model(folder: Any, tied: bool = False, scale: float = 8.0, ends: float = 3.0, layers: int = 2) -> str:
    """Save a Llama whose tokens depend on what came before, and that ends now and then; vLLM needs heads of 32."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=256,
            tie_word_embeddings=tied,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        model.get_output_embeddings().weight *= scale
        model.get_output_embeddings().weight[tokenizer.eos_token_id] *= ends
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


class Listener(TrainerCallback):
    """Keeps the rollouts of each iteration."""

    def __init__(self) -> None:
        self.iterations: list[list[dict[str, Any]]] = []

    def on_rollouts(self, trainer: Any, rollouts: list[dict[str, Any]]) -> None:
        """Take in an iteration."""
        self.iterations.append(rollouts)

    @property
    def rollouts(self) -> list[dict[str, Any]]:
        """The rollouts of all iterations."""
        return [each for rollouts in self.iterations for each in rollouts]


def build(folder: Any, model: Any, **changes: Any) -> tuple[MirrorDescentTrainer, Listener]:
    """Build a trainer that generates with vLLM in this process unless told otherwise."""
    listener = Listener()
    own = {name: changes.pop(name) for name in ("peft_config", "sampler", "engine") if name in changes}
    reward_funcs = changes.pop("reward_funcs", [tiny.odd_start])
    settings = {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_max_model_length": 192,
        "max_completion_length": 16,
        "learning_rate": 1e-3,
        "model_init_kwargs": {"dtype": "float32"},
    }
    if not isinstance(model, str) or "engine" in own:
        del settings["model_init_kwargs"]
    kind = MegatronMirrorDescentTrainer if "engine" in own else MirrorDescentTrainer
    trainer = kind(
        model,
        reward_funcs,
        MirrorDescentConfig(**tiny.arguments(folder, **settings | changes)),
        train_dataset=tiny.problems(),
        processing_class=tiny_tokenizer(),
        callbacks=[listener],
        **own,
    )
    BUILT.append(trainer)
    return trainer, listener
