"""What supervised stages share: one training on prompts and completions, and how a warm start is saved."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import SFTConfig, SFTTrainer

from k15_plugins.stages.train import train


def supervise(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset,
    output_dir: str,
    seed: int,
    sft: Mapping[str, Any],
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train a model on prompts and completions with TRL's `SFTTrainer`, in one epoch and the order of the rows.

    Args:
        model: Trained in place.
        tokenizer: Its tokenizer.
        rows: TRL's prompt-completion format.
        output_dir: Folder of the training.
        seed: Of the training.
        sft: Arguments of `SFTConfig`, which win over those of this function.
        callbacks: Callbacks that show the progress, instead of transformers' own.
    """
    own: dict[str, Any] = {
        "output_dir": output_dir,
        "seed": seed,
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",  # the rows are in random order already, and clean ones come first
        "max_length": None,  # TRL's default of 1024 tokens would cut long traces before their answers
        "save_strategy": "no",
    }
    args = SFTConfig(**(own | dict(sft)))
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=rows, processing_class=tokenizer, callbacks=list(callbacks)
    )
    if callbacks:
        train(trainer)
    else:
        trainer.train()


def save(result: Mapping[str, Any], model: Any, tokenizer: Any, folder: Path) -> None:
    """Save a model with its tokenizer and `warm_start.json`.

    Args:
        result: What the file holds.
        model: The model.
        tokenizer: Its tokenizer.
        folder: Where to.
    """
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "warm_start.json").write_text(json.dumps(result, indent=2) + "\n")
