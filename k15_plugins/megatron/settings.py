"""What an engine is told when it is built; loads neither torch nor Megatron."""

from dataclasses import dataclass, field
from typing import Any

from k15_plugins.megatron.layout import MegatronLayout


@dataclass(frozen=True)
class EngineSettings:
    """Settings of a `MegatronEngine`.

    Args:
        layout: over the processes.
        dtype: of the weights, `float32` or `bfloat16`; moments, gradients and the weights that Adam works on are
            float32 in any case.
        max_tokens_per_micro_batch: with padding; a longer row is computed alone.
        weight_decay: of matrices; norms and biases have none.
        adam_beta1: of Adam.
        adam_beta2: of Adam.
        adam_epsilon: of Adam.
        seed: of dropout, which the known models do not have.
        transformer: fields of Megatron's `TransformerConfig`, such as `recompute_granularity`.
    """

    layout: MegatronLayout
    dtype: str = "float32"
    max_tokens_per_micro_batch: int = 8192
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    seed: int = 0
    transformer: dict[str, Any] = field(default_factory=dict)
