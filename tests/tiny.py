"""Tiny real pieces for the trainers' tests: a random Llama, its tokenizer, problems, and a reward."""

from typing import Any

import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM

from k15_plugins import MirrorDescentConfig, MirrorDescentTrainer
from k15_plugins.models.tiny_reasoner import tiny_tokenizer


def model(seed: int = 0, dropout: float = 0.0) -> LlamaForCausalLM:
    """Return a Llama of two small layers with random weights."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=128,
            attention_dropout=dropout,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def problems(size: int = 12) -> Dataset:
    """Return problems that differ in their prompts."""
    prompts = [" + ".join(str(number % 10) for number in range(start, start + 2 + start % 3)) for start in range(size)]
    return Dataset.from_dict({"prompt": [f"{text} = {i}" for i, text in enumerate(prompts)], "answer": prompts})


def odd_start(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Reward 1 for responses whose first token has an odd id: right about half of the time."""
    return [float(ids[0] % 2) for ids in completion_ids]


def arguments(folder: Any, **changes: Any) -> dict[str, Any]:
    """Return small settings: 4 problems x 4 rollouts an iteration, 2 updates, 8 tokens."""
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "updates_per_iteration": 2,
        "num_generations": 4,
        "max_completion_length": 8,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "max_steps": 6,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "use_cpu": True,
        "seed": 3,
    } | changes


def trainer(folder: Any, trainer_class: type = MirrorDescentTrainer, **changes: Any) -> MirrorDescentTrainer:
    """Return a trainer with these settings; keyword arguments that it takes itself are passed on to it."""
    own = {
        "callbacks",
        "sampler",
        "peft_config",
        "final_reward",
        "eval_dataset",
        "train_dataset",
        "reward_funcs",
        "reward_processing_classes",
        "rollout_func",
        "model",
        "engine",
        "processing_class",
    }
    given = {name: changes.pop(name) for name in own & changes.keys()}
    pieces = {
        "model": model(),
        "reward_funcs": [odd_start],
        "train_dataset": problems(),
        "processing_class": tiny_tokenizer(),
    } | given
    return trainer_class(args=MirrorDescentConfig(**arguments(folder, **changes)), **pieces)


def logs(of: MirrorDescentTrainer, name: str) -> list[float]:
    """Return a metric's logged values in order."""
    return [entry[name] for entry in of.state.log_history if name in entry]
