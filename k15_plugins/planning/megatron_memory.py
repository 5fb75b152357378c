"""What a Megatron layout needs on each GPU: `python -m k15_plugins.planning.megatron_memory MODEL --processes 8 ...`.

Plain arithmetic. The weights of each rank and the state of the optimizer are held against engines that were built, and
the slopes of activations and logits against their measured peaks, of small models on a CPU. Nothing was run on a GPU.
"""

import argparse
from typing import Any, NamedTuple

from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.model.families import check_family, head_size

GB = 2**30
# Of an entry of the logits at the loss: the logits themselves, those divided by the temperature, and three tensors in
# the making of the entropy, all float32.
LOGIT_BYTES = 20


class Weights(NamedTuple):
    """Weights of a rank; those of experts have replicas of their own."""

    shared: int
    experts: int

    @property
    def all(self) -> int:
        """Their number."""
        return self.shared + self.experts


def weights_of_stage(config: Any, layout: MegatronLayout, stage: int) -> Weights:
    """Return the weights of a rank, exactly.

    Args:
        config: A `transformers.PretrainedConfig` of a family that the engine knows.
        layout: Over the ranks.
        stage: Of the pipeline, from 0.
    """
    tensor, last = layout.tensor_parallel, layout.pipeline_parallel - 1
    hidden, heads, head = config.hidden_size, config.num_attention_heads, head_size(config)
    key_value = 2 * config.num_key_value_heads
    attention = hidden * head * (2 * heads + key_value) // tensor
    if config.model_type == "qwen2":
        attention += head * (heads + key_value) // tensor
    if config.model_type in ("qwen3", "qwen3_moe"):
        attention += 2 * head
    layer, experts = attention + 2 * hidden, 0
    if config.model_type == "qwen3_moe":
        layer += config.num_experts * hidden
        experts = config.num_experts // layout.expert_parallel * 3 * hidden * config.moe_intermediate_size
    else:
        layer += 3 * hidden * config.intermediate_size // tensor
    layers = config.num_hidden_layers // layout.pipeline_parallel
    vocabulary = -(-config.vocab_size // tensor) * hidden
    outside = vocabulary if stage == 0 else 0
    if stage == last:
        outside += hidden
        # A tied output layer is the embedding, of which a last stage that is not the first one has a copy.
        outside += 0 if config.tie_word_embeddings and last == 0 else vocabulary
    return Weights(layers * layer + outside, layers * experts)


def state_bytes(weights: Weights, layout: MegatronLayout, value_bytes: int) -> dict[str, float]:
    """Return the bytes of a rank that do not depend on the rows; padding of buffers aside.

    Replicas share the state of the optimizer.

    Args:
        weights: Of the rank.
        layout: Over the ranks.
        value_bytes: Of a weight: 4 for float32, 2 for bfloat16, which Adam has a float32 copy of beside its moments.
    """
    expert_replicas = layout.processes // (layout.pipeline_parallel * layout.expert_parallel)
    of_a_weight = 8 if value_bytes == 4 else 12
    return {
        "weights": float(weights.all * value_bytes),
        "gradients": float(weights.all * 4),
        "optimizer": of_a_weight * (weights.shared / layout.data_parallel + weights.experts / expert_replicas),
    }


def layer_bytes(config: Any, layout: MegatronLayout) -> float:
    """Return the bytes a token that a layer keeps from its forward to its backward pass, on each rank.

    These are: of both norms what comes in, what is normed and what goes out (six of the model's width); queries, keys
    and values as projected and as rotated, keys and values once more for each head, and the output of attention before
    and after its heads are joined; where queries and keys are normed, these before and after; and of the MLP the gate
    before and after its activation, the up projection and their product. With experts each token is in
    `num_experts_per_tok` of them, and has its own vector there before, within and after (three of the model's width);
    that all ranks' experts get the same number of tokens is taken for granted. All of it counts as float32: with
    weights in bfloat16, no less was measured.

    Args:
        config: A `transformers.PretrainedConfig` of a family that the engine knows.
        layout: Over the ranks.
    """
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    split = (6 * heads + 3 * kv_heads) * head_size(config)
    if config.model_type in ("qwen3", "qwen3_moe"):
        split += 2 * (heads + kv_heads) * head_size(config)
    if config.model_type == "qwen3_moe":
        split += config.num_experts_per_tok * (3 * config.hidden_size + 4 * config.moe_intermediate_size)
    else:
        split += 4 * config.intermediate_size
    return 4 * (_width(config, layout) * 6 + split / layout.tensor_parallel)


def backward_bytes(config: Any, layout: MegatronLayout) -> float:
    """Return the bytes a token of the gradients on the way through a layer: the model's width, and three of its MLP's.

    Args:
        config: A `transformers.PretrainedConfig` of a family that the engine knows.
        layout: Over the ranks.
    """
    width = config.intermediate_size
    if config.model_type == "qwen3_moe":
        width = config.num_experts_per_tok * config.moe_intermediate_size
    return 4 * (_width(config, layout) + 3 * width / layout.tensor_parallel)


def token_bytes(config: Any, layout: MegatronLayout, stage: int, value_bytes: int, recompute: bool) -> float:
    """Return the bytes a token of a micro-batch during an update: the slope of a rank's peak memory.

    A stage that is s from the last one holds s + 1 micro-batches, with recompute only the inputs of their layers. The
    peak comes at the loss, which the last stage computes, or in the backward pass of a layer.

    Args:
        config: A `transformers.PretrainedConfig` of a family that the engine knows.
        layout: Over the ranks.
        stage: Of the pipeline, from 0.
        value_bytes: Of a number between layers.
        recompute: Whether each layer is computed again in the backward pass (`recompute_granularity: full`).
    """
    layer = layer_bytes(config, layout)
    kept = config.num_hidden_layers // layout.pipeline_parallel * (layout.pipeline_parallel - stage)
    backward = backward_bytes(config, layout) + (layer if recompute else 0)
    entries = -(-config.vocab_size // layout.tensor_parallel) if stage == layout.pipeline_parallel - 1 else 0
    return kept * (_width(config, layout) * value_bytes if recompute else layer) + max(
        LOGIT_BYTES * entries, backward + 4 * entries
    )


def needs(
    config: Any,
    layout: MegatronLayout,
    *,
    tokens: int,
    value_bytes: int = 2,
    recompute: bool = True,
) -> list[dict[str, float]]:
    """Return what a rank of each stage of the pipeline needs, in GB.

    Args:
        config: A `transformers.PretrainedConfig` of a family that the engine knows.
        layout: Over the ranks.
        tokens: Of a micro-batch, padding included: the larger of `max_tokens_per_micro_batch` and the longest row.
        value_bytes: Of a weight and of a number between layers: 4 for float32, 2 for bfloat16.
        recompute: Whether each layer is computed again in the backward pass.

    Raises:
        ValueError: If the model cannot be laid out so, or the pipeline is interleaved.
    """
    layout.check_model(config)
    if layout.virtual_pipeline > 1:
        raise ValueError(
            "virtual_pipeline must be 1 here, for the arithmetic does not know how many micro-batches an interleaved "
            f"pipeline holds, got {layout.virtual_pipeline}; set it to 1."
        )
    found = []
    for stage in range(layout.pipeline_parallel):
        weights = weights_of_stage(config, layout, stage)
        parts = state_bytes(weights, layout, value_bytes)
        parts["activations and logits"] = tokens * token_bytes(config, layout, stage, value_bytes, recompute)
        parts["in all"] = sum(parts.values())
        found.append({name: size / GB for name, size in parts.items()})
    return found


def _width(config: Any, layout: MegatronLayout) -> float:
    """Return the entries of a token's vector on each rank."""
    return config.hidden_size / (layout.tensor_parallel if layout.sequence_parallel else 1)


def main(arguments: list[str] | None = None) -> None:
    """Print what a layout needs.

    Args:
        arguments: Of the command line; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="python -m k15_plugins.planning.megatron_memory", description=__doc__)
    parser.add_argument("model", help="name or folder of a model, or folder of its config.json")
    for name in ("processes", "tensor-parallel", "pipeline-parallel", "expert-parallel"):
        parser.add_argument(f"--{name}", type=int, default=1)
    parser.add_argument("--sequence-parallel", action="store_true")
    parser.add_argument("--tokens", type=int, default=32_768, help="of a micro-batch")
    parser.add_argument("--value-bytes", type=int, default=2, help="2 for bfloat16, 4 for float32")
    parser.add_argument("--no-recompute", dest="recompute", action="store_false")
    given = vars(parser.parse_args(arguments))
    of_rows = {name: given.pop(name) for name in ("tokens", "value_bytes", "recompute")}

    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(given.pop("model"))
    check_family(config)
    for stage, parts in enumerate(needs(config, MegatronLayout(**given), **of_rows)):
        print(f"GB on each GPU of stage {stage}:")
        for name, size in parts.items():
            print(f"{name:>24}: {size:8.2f}")


if __name__ == "__main__":
    main()
