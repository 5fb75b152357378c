"""What a run with very long responses needs in memory: `python -m k15_plugins.planning.long_context MODEL --gpus 8`.

Plain arithmetic for decoder-only models of Llama's kind (grouped attention, a gated MLP, no experts). The slope of the
activations is held against measured updates of a tiny model on a CPU (`docs/long_context.md`). Nothing was run on a
GPU.
"""

import argparse
from typing import Any, NamedTuple

GB = 2**30
BUFFER_BYTES = 8  # a token of the rollout buffer: id and log-probability
# TRL computes the head in tiles of so many tokens and entries.
TILE_TOKENS, TILE_ENTRIES = 4096, 32_768
# Ids, masks and log-probabilities of the batch, and copies of them in the making.
BATCH_BYTES = 200


class ModelShape(NamedTuple):
    """The sizes of a model that its memory follows from."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool

    @property
    def parameters(self) -> int:
        """Weights, biases of the attention aside."""
        attention = self.hidden * self.head_size * 2 * (self.heads + self.kv_heads)
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return self.layers * layer + self.hidden + (1 if self.tied else 2) * self.vocabulary * self.hidden


def shape_of(config: Any) -> ModelShape:
    """Read the sizes off a config of transformers.

    Args:
        config: Of a decoder-only language model.

    Raises:
        ValueError: If the model has experts, of which the arithmetic knows nothing.
    """
    config = config.get_text_config()
    if any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        raise ValueError(f"{config.model_type} has experts, and this arithmetic is for dense models; give one.")
    heads = config.num_attention_heads
    return ModelShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocabulary=config.vocab_size,
        tied=bool(config.tie_word_embeddings),
    )


def kv_cache_bytes(shape: ModelShape, value_bytes: int) -> int:
    """Return the bytes a token of the keys and values of all layers.

    Args:
        shape: Of the model.
        value_bytes: Of a number.
    """
    return 2 * shape.layers * shape.kv_heads * shape.head_size * value_bytes


def activation_bytes(shape: ModelShape, value_bytes: int) -> int:
    """Return the bytes a token of one update with gradient checkpointing: the slope of its peak memory.

    The peak comes in the backward pass of a layer's MLP. Held then: the input of each layer; what this layer's
    recomputed forward pass keeps (the norms: five of the model's width; queries, keys, values, the output of attention
    before and after its heads are joined; the MLP's gate before and after its activation and its up projection); and
    the gradients on the way (one of the model's width, three of the MLP's).

    Args:
        shape: Of the model.
        value_bytes: Of a number.
    """
    inputs = shape.layers * shape.hidden
    attention = (3 * shape.heads + 2 * shape.kv_heads) * shape.head_size
    layer = 6 * shape.hidden + attention + 6 * shape.intermediate
    return (inputs + layer) * value_bytes + BATCH_BYTES


def tile_bytes(shape: ModelShape, value_bytes: int) -> int:
    """Return the bytes of the head's one tile on a GPU, whatever the length. Without Triton it is about eight times.

    Args:
        shape: Of the model.
        value_bytes: Of a number.
    """
    return TILE_TOKENS * min(shape.vocabulary, TILE_ENTRIES) * value_bytes


def needs(
    shape: ModelShape,
    gpus: int,
    *,
    tokens: int = 131_072,
    trajectories: int = 64,
    weight_bytes: int = 4,
    value_bytes: int = 2,
) -> dict[str, float]:
    """Return what each GPU needs, in GB, and the main memory that the rollout buffer takes.

    Weights, gradients and Adam's two moments are sharded over the GPUs (FSDP). Each GPU computes one trajectory at a
    time, generates its share of them with a whole copy of the weights, and frees one before it begins the other.

    Args:
        shape: Of the model.
        gpus: Their number.
        tokens: Longest trajectory, prompt included.
        trajectories: Rollouts in flight, on all GPUs together.
        weight_bytes: Of a number among the weights, gradients and moments: 4 for float32 (with bfloat16 by autocast).
        value_bytes: Of a number among activations, the KV cache and the weights for generation: 2 for bfloat16.
    """
    sharded = shape.parameters * weight_bytes / gpus
    on_each = -(-trajectories // gpus)
    parts = {
        "weights": sharded,
        "gradients": sharded,
        "optimizer": 2 * sharded,
        "activations of one trajectory": float(tokens * activation_bytes(shape, value_bytes)),
        "tile of the head": float(tile_bytes(shape, value_bytes)),
        "weights for generation": float(shape.parameters * value_bytes),
        "KV cache of the rollouts in flight": float(on_each * tokens * kv_cache_bytes(shape, value_bytes)),
    }
    state = sum(parts[name] for name in ("weights", "gradients", "optimizer"))
    parts["in all while it updates"] = state + parts["activations of one trajectory"] + parts["tile of the head"]
    parts["in all while it generates"] = (
        state + parts["weights for generation"] + parts["KV cache of the rollouts in flight"]
    )
    parts["rollout buffer (main memory)"] = float(trajectories * tokens * BUFFER_BYTES)
    return {name: size / GB for name, size in parts.items()}


def main(arguments: list[str] | None = None) -> None:
    """Print what a run needs.

    Args:
        arguments: Of the command line; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="python -m k15_plugins.planning.long_context", description=__doc__)
    parser.add_argument("model", help="name or folder of a model, or folder of its config.json")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=131_072)
    parser.add_argument("--trajectories", type=int, default=64, help="rollouts in flight on all GPUs together")
    parser.add_argument("--weight-bytes", type=int, default=4)
    parser.add_argument("--value-bytes", type=int, default=2)
    given = vars(parser.parse_args(arguments))

    from transformers import AutoConfig

    shape = shape_of(AutoConfig.from_pretrained(given.pop("model")))
    print(f"{shape.parameters / 1e9:.2f} billion weights; GB on each of {given['gpus']} GPUs:")
    for name, size in needs(shape, given.pop("gpus"), **given).items():
        print(f"{name:>36}: {size:8.2f}")


if __name__ == "__main__":
    main()
