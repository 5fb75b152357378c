"""A gloo group between a trainer and the workers of a vLLM server without accelerators."""

from typing import Any

import torch


def open_gloo(address: str, port: int, rank: int, world_size: int) -> Any:
    """Open a gloo group beside the processes' own groups.

    Args:
        address: Of the trainer.
        port: A free one.
        rank: 0 for the trainer, from 1 for the workers.
        world_size: Workers and trainer.
    """
    from vllm.distributed.utils import stateless_init_torch_distributed_process_group

    return stateless_init_torch_distributed_process_group(address, port, rank, world_size, "gloo")


def broadcast(group: Any, tensor: torch.Tensor) -> None:
    """Send a tensor from the trainer to all workers, in place.

    Args:
        group: Of `open_gloo`.
        tensor: contiguous.
    """
    options = torch.distributed.BroadcastOptions()
    options.rootRank = 0
    options.rootTensor = 0
    group.broadcast([tensor], options).wait()
