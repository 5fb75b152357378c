"""Values of training arguments that cannot be: no number where one is needed, not finite, or out of range."""

import math
from collections.abc import Callable, Collection
from dataclasses import fields
from enum import Enum
from numbers import Integral, Real
from typing import Any, get_args, get_type_hints

import numpy as np

Range = tuple[Callable[[Any], bool], str]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral)


def _whole(least: int) -> Range:
    return lambda value: _is_whole(value) and value >= least, f"a whole number from {least}"


def _steps(value: Any) -> bool:
    return 0 < value < 1 or (value >= 1 and value == int(value))


_FROM_0: Range = (lambda value: value >= 0, "0 or more")
_ABOVE_0: Range = (lambda value: value > 0, "above 0")
_BELOW_1: Range = (lambda value: 0 <= value < 1, "from 0 to below 1")
_SHARE: Range = (lambda value: 0 <= value <= 1, "from 0 to 1")
_SHARE_ABOVE_0: Range = (lambda value: 0 < value <= 1, "above 0 and at most 1")
_STEPS: Range = (_steps, "above 0 (a whole number of updates, or below 1 a share of the training)")
RANGES: dict[str, Range] = {
    "max_steps": (lambda value: value == -1 or value >= 1, "1 or more updates (-1: as num_train_epochs says)"),
    "num_train_epochs": _ABOVE_0,
    "learning_rate": _FROM_0,
    "weight_decay": _FROM_0,
    "max_grad_norm": _FROM_0,
    "adam_beta1": _BELOW_1,
    "adam_beta2": _BELOW_1,
    "adam_epsilon": _FROM_0,
    "warmup_steps": _FROM_0,
    "warmup_ratio": _SHARE,
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
    "min_p": _SHARE,
    "repetition_penalty": _ABOVE_0,
    "beta": _FROM_0,
    "vllm_gpu_memory_utilization": _SHARE_ABOVE_0,
    "vllm_tensor_parallel_size": _whole(1),
    "vllm_max_model_length": _whole(1),
    "vllm_server_port": (lambda value: _is_whole(value) and 1 <= value <= 65535, "a port from 1 to 65535"),
    "vllm_server_timeout": _ABOVE_0,
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


def check_values(args: Any, names: Collection[str]) -> None:
    """Refuse texts and the like for numbers and flags, numbers that are not finite, and numbers out of range.

    Args:
        args: A config of TRL's or of this package, which may still be in its making.
        names: Of the arguments to be checked.

    Raises:
        ValueError: Naming the argument, its value, and what it may be.
    """
    hints = {name: set(get_args(hint) or (hint,)) for name, hint in get_type_hints(type(args)).items()}
    defaults = {each.name: each.default for each in fields(args)}
    for name in names:
        value, hint, default = getattr(args, name), hints[name], defaults[name]
        kind, choices = _kind(hint), CHOICES.get(name) or _choices(hint)
        # A default may be of another type, until TRL or transformers replace it.
        if value is default or (value is None and type(None) in hint):
            continue
        if choices and value not in choices:
            raise ValueError(
                f"{name} must be one of {', '.join(choices)}, got {value!r}; correct it, or leave it out."
            )
        if kind is None and not (name in RANGES and isinstance(value, Real)):
            continue
        if kind is bool:
            if not isinstance(value, bool | np.bool_):
                raise ValueError(f"{name} must be true or false, got {value!r}; the default is {default}.")
            continue
        is_number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        if not is_number:
            number = "whole number" if kind is int else "number"
            raise ValueError(f"{name} must be a {number}, got {value!r}; the default is {default}.")
        good, words = RANGES.get(name, (math.isfinite, "a finite number"))
        if not math.isfinite(value) or not good(value):
            words = words if math.isfinite(value) else "a finite number"
            raise ValueError(f"{name} must be {words}, got {value!r}; take such a number, or leave it out.")
    weights = getattr(args, "reward_weights", None)
    is_list = isinstance(weights, list | tuple)
    if weights is not None and not (
        is_list and all(isinstance(each, Real) and math.isfinite(each) for each in weights)
    ):
        raise ValueError(
            f"reward_weights={weights!r} is no list of finite numbers; give one for each reward function."
        )


def _kind(hint: set[Any]) -> type | None:
    """Return whether an argument is a whole number, a number or a flag, be it None as well."""
    kinds = hint - {type(None)}
    return kinds.pop() if kinds in ({int}, {float}, {bool}) else None


def _choices(hint: set[Any]) -> tuple[str, ...]:
    enumerations = [kind for kind in hint if isinstance(kind, type) and issubclass(kind, Enum)]
    return tuple(member.value for kind in enumerations for member in kind)
