"""Which models of transformers the engine can hold, and what Megatron has to be told of them."""

from importlib.util import find_spec
from typing import Any

from k15_plugins.megatron.layout import MegatronLayout

FAMILIES = ("llama", "qwen2", "qwen3", "qwen3_moe")


def check_family(config: Any) -> None:
    """Refuse a model that Megatron would compute otherwise than transformers.

    Args:
        config: A `transformers.PretrainedConfig`.

    Raises:
        ValueError: Naming what is not supported, and what is.
    """
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"backend=megatron does not know the architecture {config.model_type!r}; it knows {', '.join(FAMILIES)}; "
            "backend.bridge=true takes more by Megatron-Bridge."
        )
    rope = config.rope_parameters or {}
    others = {
        "hidden_act": config.hidden_act != "silu",
        "attention_bias": config.model_type != "qwen2" and bool(getattr(config, "attention_bias", False)),
        "mlp_bias": bool(getattr(config, "mlp_bias", False)),
        "use_sliding_window": bool(getattr(config, "use_sliding_window", False)),
        "rope_parameters": rope.get("rope_type", "default") != "default",
        "mlp_only_layers": bool(getattr(config, "mlp_only_layers", None)),
        "decoder_sparse_step": getattr(config, "decoder_sparse_step", 1) != 1,
        "norm_topk_prob": config.model_type == "qwen3_moe" and not config.norm_topk_prob,
    }
    for name, differs in others.items():
        if differs:
            raise ValueError(
                f"backend=megatron does not know a {config.model_type} model with {name}={getattr(config, name)!r}; "
                "take backend=accelerate or backend=fsdp."
            )


def check_bridge_installed() -> None:
    """Refuse Megatron-Bridge where it is missing.

    Raises:
        ValueError: With what to install.
    """
    if find_spec("megatron.bridge") is None:
        raise ValueError(
            "backend.bridge=true needs megatron-bridge, and Transformer Engine with it; install them, or set "
            f"backend.bridge=false for {', '.join(FAMILIES)}."
        )


def check_bridged(config: Any, tensor_parallel: int) -> None:
    """Refuse a model that Megatron-Bridge cannot split, or would compute otherwise than transformers.

    Args:
        config: A `transformers.PretrainedConfig`.
        tensor_parallel: Ranks that share the vocabulary, which Megatron-Bridge does not pad.

    Raises:
        ValueError: If Megatron-Bridge is missing, the vocabulary cannot be split, rotary embeddings are scaled, which
            it looks for where transformers 5 no longer keeps it, or attention has a window, whose tokens it counts
            otherwise.
    """
    check_bridge_installed()
    if config.vocab_size % tensor_parallel:
        raise ValueError(
            f"backend.tensor_parallel={tensor_parallel} does not divide the model's {config.vocab_size} entries of "
            "the vocabulary, which backend.bridge=true needs; take a divisor of them."
        )
    rope = getattr(config, "rope_parameters", None) or {}
    windows = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None) is not None
    for name, differs in {"rope_parameters": rope.get("rope_type") != "default", "sliding_window": windows}.items():
        if differs:
            raise ValueError(
                f"backend.bridge=true does not carry over {name}={getattr(config, name, None)!r} of a "
                f"{config.model_type} model; take backend=accelerate or backend=fsdp."
            )


def check_model(config: Any, layout: MegatronLayout, bridge: bool) -> None:
    """Refuse a model that the engine cannot hold, or not in this layout.

    Args:
        config: A `transformers.PretrainedConfig`.
        layout: Over the ranks.
        bridge: Whether Megatron-Bridge builds and converts it.

    Raises:
        ValueError: Naming what is not supported, and what is.
    """
    if bridge:
        check_bridged(config, layout.tensor_parallel)
    else:
        check_family(config)
    layout.check_model(config)


def transformer_settings(config: Any) -> dict[str, Any]:
    """Return the arguments of Megatron's `TransformerConfig` that describe the model.

    Args:
        config: A `transformers.PretrainedConfig` that has passed `check_family`.
    """
    settings = {
        "num_layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_attention_heads,
        "num_query_groups": config.num_key_value_heads,
        "kv_channels": head_size(config),
        "ffn_hidden_size": config.intermediate_size,
        "normalization": "RMSNorm",
        "layernorm_epsilon": config.rms_norm_eps,
        "gated_linear_unit": True,
        "add_bias_linear": False,
        "add_qkv_bias": config.model_type == "qwen2",
        "qk_layernorm": config.model_type in ("qwen3", "qwen3_moe"),
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
    }
    if config.model_type == "qwen3_moe":
        settings |= {
            "num_moe_experts": config.num_experts,
            "moe_ffn_hidden_size": config.moe_intermediate_size,
            "moe_router_topk": config.num_experts_per_tok,
            "moe_router_load_balancing_type": "none",
            "moe_router_dtype": "fp32",
        }
    return settings


def head_size(config: Any) -> int:
    """Return the entries of an attention head.

    Args:
        config: A `transformers.PretrainedConfig`.
    """
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
