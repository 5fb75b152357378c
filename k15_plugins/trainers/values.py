"""Values of training arguments that cannot be: no number where one is needed, not finite, or out of range."""

import math
from dataclasses import Field, fields
from enum import Enum
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from k15_plugins.trainers.knob import ABOVE_0, PROBABILITY, Range, at_least


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral)


def _whole(least: int) -> Range:
    return lambda value: _is_whole(value) and value >= least, f"a whole number from {least}"


def _steps(value: Any) -> bool:
    return 0 < value < 1 or (value >= 1 and value == int(value))


_FROM_0 = at_least(0)
_BELOW_1: Range = (lambda value: 0 <= value < 1, "from 0 to below 1")
_SHARE_ABOVE_0: Range = (lambda value: 0 < value <= 1, "above 0 and at most 1")
_STEPS: Range = (_steps, "above 0 (a whole number of updates, or below 1 a share of the training)")
RANGES: dict[str, Range] = {
    "max_steps": (lambda value: value == -1 or value >= 1, "1 or more updates (-1: as num_train_epochs says)"),
    "num_train_epochs": ABOVE_0,
    "learning_rate": _FROM_0,
    "weight_decay": _FROM_0,
    "max_grad_norm": _FROM_0,
    "adam_beta1": _BELOW_1,
    "adam_beta2": _BELOW_1,
    "adam_epsilon": _FROM_0,
    "warmup_steps": _FROM_0,
    "warmup_ratio": PROBABILITY,
    "logging_steps": _STEPS,
    "eval_steps": _STEPS,
    "save_steps": _STEPS,
    "save_total_limit": _whole(1),
    "seed": (lambda value: 0 <= value < 2**32, f"a whole number from 0 to {2**32 - 1}"),
    "gradient_accumulation_steps": _whole(1),
    "per_device_train_batch_size": _whole(1),
    "per_device_eval_batch_size": _whole(1),
    "torch_empty_cache_steps": _whole(1),
    "eval_accumulation_steps": _whole(1),
    "dataloader_num_workers": _whole(0),
    # Rollouts.
    "generation_batch_size": _whole(1),
    "steps_per_generation": _whole(1),
    "num_iterations": _whole(1),
    "num_generations": _whole(2),
    "num_generations_eval": _whole(1),
    "max_completion_length": _whole(1),
    "pad_to_multiple_of": _whole(1),
    "temperature": (lambda value: value > 0, "above 0 (1 samples from the policy itself)"),
    "top_p": _SHARE_ABOVE_0,
    "top_k": _whole(0),
    "min_p": PROBABILITY,
    "repetition_penalty": ABOVE_0,
    "beta": _FROM_0,
    "vllm_gpu_memory_utilization": _SHARE_ABOVE_0,
    "vllm_tensor_parallel_size": _whole(1),
    "vllm_max_model_length": _whole(1),
    "vllm_server_port": (lambda value: _is_whole(value) and 1 <= value <= 65535, "a port from 1 to 65535"),
    "vllm_server_timeout": ABOVE_0,
    # SFT and long2short DPO.
    "max_length": _whole(1),
    "held_out_steps": _whole(0),
    "held_out_max_new_tokens": _whole(1),
    "held_out_batch_size": _whole(1),
    "held_out_temperature": _FROM_0,
}
"""What a training argument may be, and that in words: of a script and of a run."""

_LEVELS = ("debug", "info", "warning", "error", "critical", "passive", "detail")
CHOICES: dict[str, tuple[str, ...]] = {
    "log_level": _LEVELS,
    "log_level_replica": _LEVELS,
    "ddp_backend": ("nccl", "mpi", "xccl", "gloo", "hccl"),
    "vllm_mode": ("server", "colocate"),
}
"""Texts among which a training argument chooses; those of enumerations are found by themselves."""


def check_values(args: Any) -> None:
    """Refuse a value of another type than its annotation, one that is no choice, and one out of range.

    Args:
        args: A config of TRL's or of this package, which may still be in its making.

    Raises:
        ValueError: Naming the argument, what it may be, and its value.
    """
    hints = get_type_hints(type(args))
    for each in fields(args):
        value, hint = getattr(args, each.name), hints[each.name]
        kinds = {hint} if get_origin(hint) is Literal else set(get_args(hint) or (hint,))
        # A default may be of another type, until TRL or transformers replace it.
        if value is each.default or (value is None and type(None) in kinds):
            continue
        words = _wanted(each, value, kinds - {type(None)})
        if words is not None:
            beside = " or None" if each.default is None else ""
            raise ValueError(f"{each.name} must be {words}{beside}, got {value!r}; the default is {each.default!r}.")
    weights = getattr(args, "reward_weights", None)
    is_list = isinstance(weights, list | tuple)
    if weights is not None and not (
        is_list and all(isinstance(each, Real) and math.isfinite(each) for each in weights)
    ):
        raise ValueError(
            f"reward_weights must be a list of finite numbers, got {weights!r}; set one for each reward function."
        )


def _wanted(known: Field, value: Any, kinds: set[Any]) -> str | None:
    """Say what a value should be, if it is something else."""
    choices = CHOICES.get(known.name) or _choices(kinds)
    if choices:
        return None if value in choices else f"one of {', '.join(choices)}"
    may_be = known.metadata.get("may_be") or RANGES.get(known.name)
    kind = next(iter(kinds)) if kinds in ({int}, {float}, {bool}) else None
    if kind is bool:
        return None if isinstance(value, bool | np.bool_) else "true or false"
    if kind is not None:
        if not isinstance(value, Integral if kind is int else Real) or isinstance(value, bool):
            return "a whole number" if kind is int else "a number"
        may_be = may_be or (math.isfinite, "a finite number")
    # Where other types are allowed too, a number may be out of range all the same.
    if may_be is None or (known.name in RANGES and not isinstance(value, Real)):
        return None
    if isinstance(value, Real) and not math.isfinite(value):
        return "a finite number"
    return None if may_be[0](value) else may_be[1]


def _choices(kinds: set[Any]) -> tuple[str, ...]:
    literals = [kind for kind in kinds if get_origin(kind) is Literal]
    enumerations = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
    return (
        *(choice for kind in literals for choice in get_args(kind)),
        *(member.value for kind in enumerations for member in kind),
    )
