"""Small models, rows of unequal length, and transformers with PyTorch's AdamW as what the engine has to equal."""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.rows import Rows
from k15_plugins.megatron.settings import EngineSettings
from k15_plugins.objective.update_loss import UpdateLoss

TEMPERATURE = 0.9
MAX_NORM = 0.5
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
# Else Adam's first step has the size of the sign: rounding of gradients would show.
ADAM_EPSILON = 1e-5
VOCABULARY = 135  # odd: two ranks hold a padded one
PADDING = 5  # transformers gives no gradient to its embedding, wherever it stands
LOSS = UpdateLoss(tau=0.3)
CONFIGS = {
    "llama": transformers.LlamaConfig,
    "qwen2": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
    "qwen3_moe": transformers.Qwen3MoeConfig,
    "mistral": transformers.MistralConfig,
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "TP2": {"family": "llama", "tied": True, "layout": {"processes": 2, "tensor_parallel": 2}},
    "TP2+SP": {
        "family": "qwen3",
        "tied": False,
        "layout": {"processes": 2, "tensor_parallel": 2, "sequence_parallel": True},
    },
    "PP2": {"family": "llama", "tied": True, "layout": {"processes": 2, "pipeline_parallel": 2}},
    "PP2 interleaved": {
        "family": "llama",
        "tied": False,
        "layout": {"processes": 2, "pipeline_parallel": 2, "virtual_pipeline": 2},
    },
    "EP2": {"family": "qwen3_moe", "tied": False, "layout": {"processes": 2, "expert_parallel": 2}},
    "DP2": {"family": "qwen2", "tied": False, "layout": {"processes": 2}},
    "TP2xPP2": {
        "family": "llama",
        "tied": True,
        "layout": {"processes": 4, "tensor_parallel": 2, "pipeline_parallel": 2},
    },
    "TP2xEP2+SP": {
        "family": "qwen3_moe",
        "tied": False,
        "layout": {"processes": 4, "tensor_parallel": 2, "expert_parallel": 2, "sequence_parallel": True},
    },
}


def model_config(family: str, tied: bool = False, **changes: Any) -> Any:
    """Return the config of a model of four small layers.

    Args:
        family: Of `CONFIGS`.
        tied: Whether the output layer has the weights of the embedding.
        **changes: Of the config.
    """
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "tie_word_embeddings": tied,
        "pad_token_id": PADDING,
        # Not what Megatron, or Megatron-Bridge, takes where it is told nothing.
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    }
    if family == "mistral":
        settings["sliding_window"] = None
    if family == "qwen3_moe":
        settings |= {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 48,
            "norm_topk_prob": True,
        }
    return CONFIGS[family](**settings | changes)


@torch.no_grad()
def save_model(folder: str | Path, family: str, tied: bool, **changes: Any) -> None:
    """Save a random model in which no norm is 1 and no bias is 0.

    Args:
        folder: Is made.
        family: Of `CONFIGS`.
        tied: Whether the output layer has the weights of the embedding.
        **changes: Of the config.
    """
    model = transformers.AutoModelForCausalLM.from_config(model_config(family, tied, **changes)).float()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(1 + 0.1 * noise if "norm" in name else 0.1 * noise)
    model.save_pretrained(folder)


def engine_settings(layout: dict[str, Any], **others: Any) -> EngineSettings:
    """Return settings under which the rows make several micro-batches.

    Args:
        layout: Arguments of `MegatronLayout`.
        **others: Arguments of `EngineSettings`.
    """
    return EngineSettings(
        MegatronLayout(**layout),
        max_tokens_per_micro_batch=50,
        adam_epsilon=ADAM_EPSILON,
        weight_decay=WEIGHT_DECAY,
        **others,
    )


def unequal_rows() -> Rows:
    """Return ten rows: one without a response and longer than a micro-batch, one that has no token in the loss."""
    generator = torch.Generator().manual_seed(3)
    number, columns = 10, 16
    prompts = torch.randint(2, 7, (number,), generator=generator)
    responses = torch.randint(1, columns - 1, (number,), generator=generator)
    prompts[4], responses[4] = 60, 0
    ids = [torch.randint(1, VOCABULARY, (tokens,), generator=generator) for tokens in (prompts + responses).tolist()]
    ids[0][1] = ids[1][-1] = ids[2][-2] = PADDING
    mask = (torch.arange(columns) < responses.unsqueeze(1)).long()
    mask[7] = 0
    return Rows(
        ids,
        responses.tolist(),
        {
            "mask": mask,
            "advantages": torch.randn(number, generator=generator),
            "weight": torch.rand(number, generator=generator) / number,
            "ref_logps": (0.5 * torch.randn(number, columns, generator=generator) - math.log(VOCABULARY)) * mask,
        },
    )


class Reference:
    """A model of transformers and PyTorch's AdamW, which see one row at a time.

    Args:
        folder: Of the model.
    """

    def __init__(self, folder: str | Path):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Begin with a new AdamW; only matrices decay."""
        parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [each for each in parameters if each.dim() > 1], "weight_decay": WEIGHT_DECAY},
                {"params": [each for each in parameters if each.dim() == 1], "weight_decay": 0.0},
            ],
            lr=LEARNING_RATE,
            eps=ADAM_EPSILON,
        )

    def logps(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies of the responses, shape (N, C) with the columns of the rows' mask."""
        logps_NC = torch.zeros(rows.columns["mask"].shape)
        entropies_NC = torch.zeros(rows.columns["mask"].shape)
        for row, (ids_T, tokens) in enumerate(zip(rows.ids, rows.response_tokens, strict=True)):
            first = len(ids_T) - tokens
            logits_TV = self.model(ids_T.unsqueeze(0)).logits[0].float() / TEMPERATURE
            all_logps_CV = logits_TV.log_softmax(dim=1)[first - 1 : -1]
            logps_NC[row, :tokens] = all_logps_CV.gather(1, ids_T[first:].unsqueeze(1)).squeeze(1)
            entropies_NC[row, :tokens] = -(all_logps_CV.exp() * all_logps_CV).sum(dim=1)
        return logps_NC, entropies_NC

    def update(self, rows: Rows) -> tuple[float, float]:
        """Make an update, and return its loss and the norm of the gradients before they were clipped."""
        self.optimizer.zero_grad()
        loss, _ = LOSS(*self.logps(rows), rows.columns)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_NORM)
        self.optimizer.step()
        return loss.item(), norm.item()

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights under the names of a checkpoint."""
        with tempfile.TemporaryDirectory() as folder:
            self.model.save_pretrained(folder)
            return load_file(Path(folder) / "model.safetensors")


def largest_difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Return the largest difference of tensors that have the same names and shapes.

    Args:
        ours: Names and tensors.
        theirs: The same.

    Raises:
        ValueError: If a name or a shape differs.
    """
    if shapes(ours) != shapes(theirs):
        differing = shapes(ours).items() ^ shapes(theirs).items()
        raise ValueError(f"tensors differ: {sorted(differing)}")
    return max((tensor.float() - theirs[name].float()).abs().max().item() for name, tensor in ours.items())


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def write_case(folder: Path, **case: Any) -> None:
    """Write what a job is to do."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.json").write_text(json.dumps(case))
