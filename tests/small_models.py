"""Models of a few thousand weights, of the families that the engine knows."""

from pathlib import Path

import torch
import transformers

SIZES = {
    "vocab_size": 135,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": False,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "norm_topk_prob": True}


def config(kind: str, **changes: object) -> transformers.PretrainedConfig:
    experts = EXPERTS if kind == "qwen3_moe" else {}
    return transformers.AutoConfig.for_model(kind, **SIZES | experts | changes)


def save(kind: str, folder: Path, **changes: object) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config(kind, **changes)).float()
    model.save_pretrained(folder)
    return model
