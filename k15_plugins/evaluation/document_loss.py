"""The loss of a language model on documents that it has not been trained on."""

from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from k15_plugins.models.document_attention import use_documents

_COLLATOR = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)


def document_loss(model: PreTrainedModel, rows: Dataset) -> float:
    """Return the mean of -log p over the tokens of documents but the first of each, in nats.

    Args:
        model: Any causal language model; left in evaluation mode.
        rows: Of `trainers.packing`, one at a time.
    """
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad(), use_documents(model):
        for row in rows:
            batch: dict[str, Any] = {
                name: value.to(model.device) if isinstance(value, torch.Tensor) else value
                for name, value in _COLLATOR([row]).items()
            }
            targets = batch.pop("labels")[0, 1:]
            logits = model(**batch, use_cache=False).logits[0, :-1].float()
            total += cross_entropy(logits, targets, ignore_index=-100, reduction="sum").item()
            count += int((targets != -100).sum())
    return total / max(count, 1)
