"""What an engine is told when it is built; loads neither torch nor Megatron."""

import re
from dataclasses import dataclass, field
from typing import Any

from k15_plugins.megatron.layout import MegatronLayout


@dataclass(frozen=True)
class EngineSettings:
    """Settings of a `MegatronEngine`.

    Args:
        layout: Over the processes.
        dtype: Of the weights, `float32` or `bfloat16`; moments, gradients and the weights that Adam works on are
            float32 in any case.
        max_tokens_per_micro_batch: With padding; a longer row is computed alone.
        weight_decay: Of matrices; norms and biases have none.
        adam_beta1: Of Adam.
        adam_beta2: Of Adam.
        adam_epsilon: Of Adam.
        seed: Of dropout, which the known models do not have.
        transformer: Fields of Megatron's `TransformerConfig`, such as `recompute_granularity`.
        bridge: Whether NVIDIA's Megatron-Bridge builds and converts the model, which knows more families.
        nodes: Machines that share the ranks evenly; the trainer is on the first one.
        address: HOST:PORT of the first machine, by which the ranks of several machines find each other.

    Raises:
        ValueError: If the machines cannot share the ranks, or cannot find each other.
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
    bridge: bool = False
    nodes: int = 1
    address: str | None = None

    def __post_init__(self) -> None:
        tokens = self.max_tokens_per_micro_batch
        if not isinstance(tokens, int) or tokens < 1:
            raise ValueError(
                f"backend.max_tokens_per_micro_batch must be 1 token or more, got {tokens!r}; set 8192, say."
            )
        if not isinstance(self.nodes, int) or self.nodes < 1:
            raise ValueError(f"backend.nodes must be a number of machines, 1 or more, got {self.nodes!r}; set 1, say.")
        if self.layout.processes % self.nodes:
            raise ValueError(
                f"backend.processes={self.layout.processes} cannot be shared evenly by backend.nodes={self.nodes} "
                f"machines; take a multiple of {self.nodes}."
            )
        if self.nodes > 1 and not re.fullmatch(r".+:\d+", self.address or ""):
            raise ValueError(
                f"backend.address={self.address} has to be HOST:PORT of the first machine, with a free port, where "
                f"the ranks of backend.nodes={self.nodes} machines find each other."
            )

    @property
    def torchrun(self) -> list[str]:
        """Arguments of torchrun on the first machine; the others have the same with their own `--node_rank`."""
        each = f"--nproc_per_node={self.layout.processes // self.nodes}"
        if self.nodes == 1:
            return ["--standalone", each]
        host, _, port = (self.address or "").rpartition(":")
        return [f"--nnodes={self.nodes}", "--node_rank=0", each, f"--master_addr={host}", f"--master_port={port}"]
