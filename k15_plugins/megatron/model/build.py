"""A Megatron model from the config of a transformers model: this rank's chunks of it."""

from dataclasses import fields
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import (
    get_gpt_layer_local_spec,
    get_gpt_layer_with_transformer_engine_spec,
)
from megatron.core.transformer import TransformerConfig
from megatron.core.transformer.moe import moe_utils
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from torch import Tensor

from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.model.attention import CausalAttention, RMSNorm
from k15_plugins.megatron.model.families import transformer_settings


def has_transformer_engine() -> bool:
    """Return whether Transformer Engine is installed."""
    return find_spec("transformer_engine") is not None


def transformer_config(model_config: Any, layout: MegatronLayout, dtype: torch.dtype, **settings: Any) -> Any:
    """Return Megatron's config of a model.

    Args:
        model_config: A `transformers.PretrainedConfig` that has passed `check_family`.
        layout: How it is laid out.
        dtype: Of the weights.
        **settings: Other fields of Megatron's `TransformerConfig`, such as `recompute_granularity`.
    """
    of_model = transformer_settings(model_config)
    ours = layout_settings(layout, dtype) | of_model
    ours["activation_func"] = torch.nn.functional.silu
    ours["moe_grouped_gemm"] = has_transformer_engine() and "num_moe_experts" in of_model
    return TransformerConfig(**with_settings(ours, settings))


def layout_settings(layout: MegatronLayout, dtype: torch.dtype) -> dict[str, Any]:
    """Return the fields of Megatron's `TransformerConfig` that do not depend on the model.

    Args:
        layout: How it is laid out.
        dtype: Of the weights.
    """
    fused = has_transformer_engine()
    return {
        "tensor_model_parallel_size": layout.tensor_parallel,
        "pipeline_model_parallel_size": layout.pipeline_parallel,
        "virtual_pipeline_model_parallel_size": layout.virtual_pipeline if layout.virtual_pipeline > 1 else None,
        "expert_model_parallel_size": layout.expert_parallel,
        "expert_tensor_parallel_size": 1,
        "sequence_parallel": layout.sequence_parallel,
        "params_dtype": dtype,
        "pipeline_dtype": dtype,
        "bf16": dtype == torch.bfloat16,
        # Micro-batches are as long as their longest row.
        "variable_seq_lengths": layout.pipeline_parallel > 1,
        # The default dispatcher is refused with variable lengths, of dense models too.
        "moe_token_dispatcher_type": "alltoall",
        # In an interleaved pipeline of two stages both neighbours are the same rank, and a batch of sends and receives
        # takes one for the other.
        "overlap_p2p_comm": layout.virtual_pipeline > 1,
        "batch_p2p_comm": layout.virtual_pipeline == 1,
        "use_cpu_initialization": not torch.cuda.is_available(),
        "attention_softmax_in_fp32": True,
        # Kernels of Apex and Transformer Engine.
        "gradient_accumulation_fusion": False,
        "persist_layer_norm": False,
        "masked_softmax_fusion": False,
        "bias_activation_fusion": fused,
        "bias_dropout_fusion": fused,
        "apply_rope_fusion": fused,
    }


def with_settings(ours: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return our fields of `TransformerConfig` and the user's.

    Args:
        ours: That follow from the model, the layout and the loss.
        settings: `backend.settings`.

    Raises:
        ValueError: If a field of the user's is ours, or none at all.
    """
    known = {each.name for each in fields(TransformerConfig)}
    for name in settings:
        if name not in known:
            raise ValueError(f"backend.settings.{name} is no field of Megatron's TransformerConfig; leave it out.")
        if name in ours or name == "calculate_per_token_loss":
            raise ValueError(f"backend.settings.{name} follows from the model, the layout and the loss; leave it out.")
    return ours | settings


def build_chunks(model_config: Any, config: Any) -> list[GPTModel]:
    """Build this rank's chunks of the model, with weights that are yet to be loaded.

    Args:
        model_config: A `transformers.PretrainedConfig`.
        config: Its `TransformerConfig`.

    Returns:
        One chunk, or as many as a stage has in an interleaved pipeline.
    """
    virtual = config.virtual_pipeline_model_parallel_size
    chunks = [
        GPTModel(
            config=config,
            transformer_layer_spec=layer_spec(config, stage),
            vocab_size=padded_vocab_size(model_config, config.tensor_model_parallel_size),
            max_sequence_length=model_config.max_position_embeddings,
            pre_process=parallel_state.is_pipeline_first_stage(ignore_virtual=False, vp_stage=stage),
            post_process=parallel_state.is_pipeline_last_stage(ignore_virtual=False, vp_stage=stage),
            share_embeddings_and_output_weights=model_config.tie_word_embeddings,
            position_embedding_type="rope",
            rotary_base=model_config.rope_parameters["rope_theta"],
            vp_stage=stage,
        )
        for stage in (range(virtual) if virtual else [None])
    ]
    spare_padding(chunks, model_config)
    return chunks


def spare_padding(chunks: list[Any], model_config: Any) -> None:
    """Give the embedding of the padding token no gradient, wherever the token stands, as transformers does.

    Args:
        chunks: This rank's `GPTModel`s.
        model_config: A `transformers.PretrainedConfig`.
    """
    if model_config.pad_token_id is not None and chunks[0].pre_process:
        hook = partial(_without_gradient_of_padding, model_config.pad_token_id)
        chunks[0].embedding.word_embeddings.register_forward_hook(hook)


def _without_gradient_of_padding(padding: int, module: Any, inputs: tuple[Tensor], embedded: Tensor) -> Tensor:
    is_padding = inputs[0] == padding
    if module.reduce_scatter_embeddings:
        # (B, T) beside this rank's part of (T, B, hidden size).
        ranks, rank = module.tp_group.size(), module.tp_group.rank()
        is_padding = is_padding.T.chunk(ranks)[rank]
    return torch.where(is_padding.unsqueeze(-1), embedded.detach(), embedded)


def padded_vocab_size(model_config: Any, ranks: int) -> int:
    """Return the entries of the vocabulary, rounded up to a multiple of the ranks that share it.

    Args:
        model_config: A `transformers.PretrainedConfig`.
        ranks: Of tensor parallelism.
    """
    return -(-model_config.vocab_size // ranks) * ranks


def layer_spec(config: Any, vp_stage: int | None) -> Any:
    """Return what layers are made of: Transformer Engine's modules where it is installed, else Megatron's and ours.

    Args:
        config: A `TransformerConfig`.
        vp_stage: Place of the chunk on its stage, in an interleaved pipeline.
    """
    options = {
        "num_experts": config.num_moe_experts,
        "moe_grouped_gemm": config.moe_grouped_gemm,
        "qk_layernorm": config.qk_layernorm,
    }
    if has_transformer_engine():
        return get_gpt_layer_with_transformer_engine_spec(**options)
    if not hasattr(moe_utils, "te_general_gemm"):
        # 0.16.1 names it in the router without having imported it where Transformer Engine is missing.
        moe_utils.te_general_gemm = None
    layer = get_gpt_layer_local_spec(**options, normalization="RMSNorm")
    layer.submodules.input_layernorm = RMSNorm
    layer.submodules.pre_mlp_layernorm = RMSNorm
    attention = layer.submodules.self_attention.submodules
    attention.core_attention = CausalAttention
    if config.qk_layernorm:
        attention.q_layernorm = attention.k_layernorm = RMSNorm
    number = get_num_layers_to_build(config, vp_stage=vp_stage)
    return TransformerBlockSubmodules(layer_specs=[layer] * number, layer_norm=RMSNorm)
