"""Sharded checkpoints of weights and optimizer that any layout can load (`megatron.core.dist_checkpointing`)."""

import shutil
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from torch import distributed

# The only form that 0.16.1 reshards over other numbers of tensor-parallel and data-parallel ranks.
_METADATA = {"distrib_optim_sharding_type": "fully_reshardable", "chained_optim_avoid_prefix": True}


def save_checkpoint(folder: str, chunks: list[Any], optimizer: Any) -> None:
    """Save a model and its optimizer.

    Args:
        folder: Is made; one that is there already, of a run that went on from further back, is replaced.
        chunks: Of this rank.
        optimizer: Megatron's, distributed.
    """
    if distributed.get_rank() == 0:
        if Path(folder).exists():
            shutil.rmtree(folder)
        Path(folder).mkdir(parents=True)
    distributed.barrier()
    state, others = _sharded_state(chunks, optimizer, is_loading=False)
    # Weights and moments are named after the model; the rest of the optimizer's state after the layout, which may be
    # another one when it is loaded. The only thing to keep of it is how many updates Adam has seen.
    state["step"] = _step(others)
    dist_checkpointing.save(state, folder)
    distributed.barrier()


def load_checkpoint(folder: str, chunks: list[Any], optimizer: Any) -> None:
    """Load what `save_checkpoint` wrote, in this layout or another.

    Args:
        folder: That was saved to.
        chunks: Of this rank.
        optimizer: Megatron's, distributed.
    """
    for part in parts_of(optimizer):
        _keep_steps(part)
    state, others = _sharded_state(chunks, optimizer, is_loading=True)
    state = dist_checkpointing.load(state, folder)
    for place, chunk in enumerate(chunks):
        chunk.load_state_dict(state[_key(place, chunks)], strict=False)
    for place, (part, other) in enumerate(zip(parts_of(optimizer), others, strict=True)):
        for group in other["optimizer"]["param_groups"]:
            group["step"] = state["step"]
        part.load_state_dict({**other, "param_state": state["optimizer"][place]})


def _sharded_state(chunks: list[Any], optimizer: Any, is_loading: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what is sharded, and what else each part of the optimizer has."""
    state: dict[str, Any] = {_key(place, chunks): chunk.sharded_state_dict() for place, chunk in enumerate(chunks)}
    model = state["model"] if len(chunks) == 1 else dict(state)
    others, moments = [], {}
    for place, part in enumerate(parts_of(optimizer)):
        if not part.optimizer.state:
            # PyTorch's Adam has no state before its first step, and state is loaded into state.
            for group in part.param_groups:
                group["lr"] = 0.0  # each update sets its own
            part._init_optimizer_states_with_dummy_values()
            _set_steps(part, 0)
        other = part.sharded_state_dict(model, is_loading=is_loading, metadata=_METADATA)
        moments[place] = other.pop("param_state")
        others.append(other)
    return {**state, "optimizer": moments}, others


def _step(others: list[dict[str, Any]]) -> int:
    steps = {int(group["step"]) for other in others for group in other["optimizer"]["param_groups"] if "step" in group}
    return max(steps, default=0)


def _set_steps(part: Any, step: int) -> None:
    for state in part.optimizer.state.values():
        if "step" in state:
            state["step"].fill_(step)
    for group in part.optimizer.param_groups:
        if "step" in group:
            group["step"] = step


def _key(place: int, chunks: list[Any]) -> str:
    return "model" if len(chunks) == 1 else f"model{place}"


def parts_of(optimizer: Any) -> list[Any]:
    """Return Megatron's optimizers of one kind of parameters each: those of experts have one of their own.

    Args:
        optimizer: Megatron's.
    """
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
