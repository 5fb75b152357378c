"""Options of `MirrorDescentConfig` that would have no effect are refused: who sets one believes that it acts."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

_IMPORTANCE_SAMPLING = (
    "vllm_importance_sampling_correction",
    "vllm_importance_sampling_mode",
    "vllm_importance_sampling_clip_max",
    "vllm_importance_sampling_clip_min",
    "vllm_importance_sampling_cap",
)


def check_effects(args: Any) -> None:
    """Refuse an option that was set and that the other options leave without effect.

    Args:
        args: A `MirrorDescentConfig` whose values are in range.

    Raises:
        ValueError: Naming the option, its value, what takes its effect away, and the cure.
    """
    _refuse(args, _idle_options(args))


def check_engine_effects(args: Any) -> None:
    """Refuse an option of an engine that the others leave without effect.

    Args:
        args: A `GRPOConfig`.

    Raises:
        ValueError: As `check_effects`.
    """
    _refuse(args, _idle_engine_options(args))


def _refuse(args: Any, idle: Iterator[tuple[tuple[str, ...], str]]) -> None:
    defaults = {each.name: each.default for each in fields(args)}
    for names, reason in idle:
        for name in names:
            value = getattr(args, name)
            if value != defaults[name]:
                raise ValueError(f"{name}={value!r} has no effect {reason}, or leave {name} at {defaults[name]!r}.")


def _idle_options(args: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield names of options that have no effect, and why, with the cure."""
    yield (
        _IMPORTANCE_SAMPLING,
        "on MirrorDescentTrainer's loss, which weighs tokens by importance_weight_cap; set that",
    )
    yield ("label_smoothing_factor",), "on a loss of rewards; take trl.SFTTrainer"
    if args.positives_only:
        yield (
            ("tau", "baseline", "baseline_leave_one_out", "penalty_level", "drop_negative_probability"),
            "with positives_only=True, which has neither a baseline nor a penalty nor negative advantages; set "
            "positives_only=False",
        )
    if args.tau == 0:
        yield ("penalty_level",), "with tau=0, which leaves the penalty out; set tau above 0"
    if args.updates_per_iteration == 1:
        idle = ("penalty_level", "log_ratio_interval")
        yield (
            ("tau", *idle) if args.baseline == "mean" else idle,
            "with updates_per_iteration=1, whose only update begins at the reference policy; set "
            "updates_per_iteration to 2 or more",
        )
    if args.lr_warmup_updates == 1:
        yield ("lr_warmup_updates",), "on the first update, which would have its whole learning rate; take 2 or more"
    if args.length_penalty_weight == 0:
        yield ("length_penalty_warmup_iterations",), "without the length reward; set length_penalty_weight above 0"
    if args.process_reward is None:
        yield (
            ("dual_lambda_low", "dual_lambda_high", "dual_ordered"),
            "without a process reward; set process_reward",
        )
    if args.repetition_max_period is None:
        yield (
            ("repetition_min_period", "repetition_min_count", "repetition_penalty_weight"),
            "without a rule for repetitions; set repetition_max_period",
        )
    yield from _idle_rollout_options(args)
    yield from _idle_engine_options(args)
    if not (args.use_vllm and args.vllm_mode == "server"):
        yield ("server_patience_seconds",), "without a server; set use_vllm=True and vllm_mode='server'"
    if args.beta == 0:
        yield ("sync_ref_model",), "without a second model; set beta above 0"
    if not args.sync_ref_model:
        yield ("ref_model_mixup_alpha", "ref_model_sync_steps"), "without sync_ref_model; set sync_ref_model=True"


def _idle_engine_options(args: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    of_vllm = [each.name for each in fields(args) if each.name.startswith("vllm_")]
    others = tuple(name for name in of_vllm if name not in _IMPORTANCE_SAMPLING)
    if not args.use_vllm:
        yield others, "without vLLM; set use_vllm=True"
    elif args.vllm_mode != "server":
        yield tuple(name for name in others if "server" in name), "without a server; set vllm_mode='server'"


def _idle_rollout_options(args: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    if not args.has_partial_rollouts:
        yield (
            ("rollout_pool_groups", "max_rollout_segments", "segments_in_loss"),
            "without partial rollouts; set rollout_budget_tokens or rollout_pause_share",
        )
    if args.max_rollout_segments == 1:
        yield (
            ("rollout_budget_tokens", "rollout_pause_share"),
            "with max_rollout_segments=1, which lets every response run to its end; set max_rollout_segments to 2 or "
            "more",
        )
    budget, longest = args.rollout_budget_tokens, args.max_completion_length
    if budget is not None and longest is not None and budget >= longest:
        yield (
            ("rollout_budget_tokens",),
            f"with max_completion_length={longest}, which no response exceeds; set it below that",
        )
