"""Sharded checkpoints of weights and optimizer that any layout can load (`megatron.core.dist_checkpointing`)."""

from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.core.optimizer import distrib_optimizer
from torch import distributed

# The only form that 0.16.1 reshards over other numbers of tensor-parallel and data-parallel ranks.
_METADATA = {"distrib_optim_sharding_type": "fully_reshardable", "chained_optim_avoid_prefix": True}


def save_checkpoint(folder: str, chunks: list[Any], optimizer: Any) -> None:
    """Save a model and its optimizer.

    Args:
        folder: is made.
        chunks: of this rank.
        optimizer: Megatron's.
    """
    if distributed.get_rank() == 0:
        Path(folder).mkdir(parents=True)
    distributed.barrier()
    dist_checkpointing.save(_sharded_state(chunks, optimizer, is_loading=False), folder)
    distributed.barrier()


def load_checkpoint(folder: str, chunks: list[Any], optimizer: Any) -> None:
    """Load what `save_checkpoint` wrote, in this layout or another.

    Args:
        folder: that was saved to.
        chunks: of this rank.
        optimizer: Megatron's.
    """
    for each in _parts(optimizer):
        if isinstance(each, distrib_optimizer.DistributedOptimizer):
            # PyTorch's Adam has no state before its first step, and state is loaded into state.
            each._init_optimizer_states_with_dummy_values()
            _keep_steps(each)
    state = dist_checkpointing.load(_sharded_state(chunks, optimizer, is_loading=True), folder)
    for place, chunk in enumerate(chunks):
        chunk.load_state_dict(state[_key(place, chunks)], strict=False)
    optimizer.load_state_dict(state["optimizer"])


def _sharded_state(chunks: list[Any], optimizer: Any, is_loading: bool) -> dict[str, Any]:
    state = {_key(place, chunks): chunk.sharded_state_dict() for place, chunk in enumerate(chunks)}
    model = state["model"] if len(chunks) == 1 else state
    state["optimizer"] = optimizer.sharded_state_dict(dict(model), is_loading=is_loading, metadata=_METADATA)
    return state


def _key(place: int, chunks: list[Any]) -> str:
    return "model" if len(chunks) == 1 else f"model{place}"


def _parts(optimizer: Any) -> list[Any]:
    return getattr(optimizer, "chained_optimizers", [optimizer])


def _keep_steps(optimizer: Any) -> None:
    """Let each parameter keep a count of steps of its own.

    Without Transformer Engine, 0.16.1 restores PyTorch's Adam with one tensor of steps for all parameters, which then
    counts once for each of them; and it looks for the count among what it has loaded for a parameter.
    """
    original = type(optimizer)._set_main_param_and_optimizer_states

    def with_own_step(model_param: Any, tensors: dict[str, Any]) -> Any:
        group, place = optimizer.model_param_group_index_map[model_param]
        state = optimizer.optimizer.state[optimizer.optimizer.param_groups[group]["params"][place]]
        if torch.is_tensor(state.get("step")) and "step" not in tensors:
            state["step"] = state["step"].clone()
            tensors = {**tensors, "step": state["step"].clone()}
        return original(optimizer, model_param, tensors)

    optimizer._set_main_param_and_optimizer_states = with_own_step
