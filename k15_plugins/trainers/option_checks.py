"""Training arguments that do not go together, or name what there is not, told before a model is loaded."""

import inspect
from typing import Any

import torch
from huggingface_hub import constants, get_token
from transformers import GenerationConfig, SchedulerType, Trainer, get_scheduler
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION
from transformers.utils import is_liger_kernel_available

from k15_plugins.tasks.problems import did_you_mean
from k15_plugins.trainers.effects import check_engine_effects
from k15_plugins.trainers.model_checks import check_output_dir
from k15_plugins.trainers.values import check_values

_SCHEDULES_OWN = ("optimizer", "num_warmup_steps", "num_training_steps", "last_epoch")


def check_options(given: dict[str, Any]) -> None:
    """Refuse training arguments that cannot be, or do not go with what else a trainer is given.

    Args:
        given: Arguments of a trainer of TRL's, by name, with `args`.

    Raises:
        ValueError: Naming the option, its value and the cure.
    """
    args = given["args"]
    check_output_dir(args.output_dir)
    check_values(args)
    check_training(args)
    check_evaluation(args, given.get("eval_dataset"))
    if hasattr(args, "generation_kwargs"):
        check_engine_effects(args)
        _check_generation(args)
        _check_continuous_batching(args)
    _check_rollout_logps(args, given.get("rollout_func"))


def check_training(args: Any) -> None:
    """Refuse an optimizer, a schedule or a way of saving that would fail when the training begins.

    Args:
        args: `TrainingArguments`.

    Raises:
        ValueError: Naming the option, its value and the cure.
    """
    _check_optimizer(args)
    _check_schedule(args)
    if args.use_liger_kernel and not is_liger_kernel_available():
        raise ValueError("use_liger_kernel=True needs liger-kernel; run pip install liger-kernel, or leave it out.")
    if args.save_strategy == "best" and args.metric_for_best_model is None:
        raise ValueError(
            "save_strategy='best' needs metric_for_best_model, the figure by which the best is told; set it, to "
            "eval_reward, say."
        )
    if args.push_to_hub and (constants.HF_HUB_OFFLINE or not (args.hub_token or get_token())):
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "you are not logged in"
        raise ValueError(f"push_to_hub=True needs the Hub, and {why}; run hf auth login, or leave it out.")


def _check_optimizer(args: Any) -> None:
    if args.optim_args and any(each.count("=") != 1 for each in args.optim_args.split(",")):
        raise ValueError(f"optim_args must be as 'key=value, key=value', got {args.optim_args!r}; correct it.")
    try:
        Trainer.get_optimizer_cls_and_kwargs(args)
    except ImportError as error:
        text = " ".join(str(error).split()).rstrip(".")
        name = getattr(args.optim, "value", args.optim)
        raise ValueError(f"optim={name} needs a package: {text}; install it, or take another optim.") from error
    except ValueError:  # those that want the model to be told of their parameters
        return


def _check_schedule(args: Any) -> None:
    kind, given = SchedulerType(args.lr_scheduler_type), args.lr_scheduler_kwargs or {}
    schedules: dict[Any, Any] = TYPE_TO_SCHEDULER_FUNCTION
    parameters = inspect.signature(schedules[kind]).parameters
    known = [name for name in parameters if name not in _SCHEDULES_OWN]
    is_open = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for name in given:
        if name not in known and not is_open:
            raise ValueError(
                f"lr_scheduler_kwargs must hold arguments of the schedule {kind.value}, got {name!r}"
                f"{did_you_mean(name, known)}; it takes {', '.join(known) or 'none'}."
            )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=args.learning_rate)
    steps = {"num_warmup_steps": 0, "num_training_steps": 10**9}
    try:
        get_scheduler(kind, optimizer, **steps, scheduler_specific_kwargs=dict(given))
    except (TypeError, ValueError) as error:
        text = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"lr_scheduler_type={kind.value} with lr_scheduler_kwargs={given}: {text}; add it."
        ) from error


def check_evaluation(args: Any, data: Any) -> None:
    """Refuse an evaluation of nothing.

    Args:
        args: `TrainingArguments`.
        data: The `eval_dataset`, or None.

    Raises:
        ValueError: Naming the option, its value and the cure.
    """
    if data is not None:
        return
    for name, is_set in (("eval_strategy", args.eval_strategy != "no"), ("eval_on_start", args.eval_on_start)):
        if is_set:
            value = getattr(args, name)
            raise ValueError(
                f"{name}={getattr(value, 'value', value)} needs an eval_dataset, and there is none; give one, or "
                f"leave {name} out."
            )


def _check_generation(args: Any) -> None:
    given = args.generation_kwargs or {}
    # vLLM's own names are known only where it is installed.
    known = list(vars(GenerationConfig())) if not args.use_vllm else list(given)
    for name in given:
        if name not in known:
            raise ValueError(
                f"generation_kwargs must hold fields of GenerationConfig, got {name!r}{did_you_mean(name, known)}; "
                "correct it, or leave it out."
            )
    for name in ("num_return_sequences", "n"):
        if given.get(name, 1) != 1:
            raise ValueError(
                f"generation_kwargs must leave the number of responses alone, got {name}={given[name]}; set "
                "num_generations."
            )
    if not args.use_vllm:
        try:
            GenerationConfig(**{"do_sample": True, "cache_implementation": args.cache_implementation, **given})
        except (TypeError, ValueError) as error:
            text = " ".join(str(error).split()).rstrip(".")
            raise ValueError(f"generation_kwargs={given}: {text}; correct it.") from error


def _check_continuous_batching(args: Any) -> None:
    if args.use_transformers_continuous_batching and (args.eval_strategy != "no" or args.eval_on_start):
        name = "paged" if args.use_transformers_paged else "continuous_batching"
        raise ValueError(
            f"use_transformers_{name} must be False where there is an evaluation, got True, with which TRL evaluates "
            "in training mode; leave it out, or set eval_strategy='no' and eval_on_start=False."
        )


def _check_rollout_logps(args: Any, rollout_func: Any) -> None:
    if not hasattr(args, "rollout_gap_bound"):  # of MirrorDescentConfig
        return
    own_rollouts = args.has_partial_rollouts or args.repetition_max_period is not None
    if args.use_vllm or rollout_func is not None or own_rollouts:
        return
    cure = (
        "transformers generation gives the engine's log-probabilities only with the rollout and repetition options; "
        "set use_vllm=True, give a rollout_func, or leave it out."
    )
    if args.importance_weight_cap is not None:
        raise ValueError(
            f"importance_weight_cap={args.importance_weight_cap} needs the engine's log-probabilities; {cure}"
        )
    if args.rollout_gap_bound != type(args).rollout_gap_bound:
        raise ValueError(f"rollout_gap_bound={args.rollout_gap_bound} has no effect, for {cure}")
