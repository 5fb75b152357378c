"""Arguments of `MirrorDescentTrainer`."""

import math
from dataclasses import dataclass, field, fields
from typing import Literal

from trl import GRPOConfig

from k15_plugins.rollouts.repetition import RepetitionRule
from k15_plugins.trainers.effects import check_effects
from k15_plugins.trainers.values import check_values

# Options of GRPO's own loss and advantages. They would be ignored here, and an ignored option misleads.
_FOREIGN_OPTIONS = (
    "loss_type",
    "epsilon",
    "epsilon_high",
    "delta",
    "importance_sampling_level",
    "multi_objective_aggregation",
    "top_entropy_quantile",
    "off_policy_mask_threshold",
    "entropy_coef",
    "entropy_coef_min",
    "entropy_coef_max",
    "entropy_coef_delta",
    "entropy_target",
    "use_adaptive_entropy",
    "use_bias_correction_kl",
    "sapo_temperature_neg",
    "sapo_temperature_pos",
    "vespo_k_pos",
    "vespo_lambda_pos",
    "vespo_k_neg",
    "vespo_lambda_neg",
)
_NUMBERS = {
    "tau": float,
    "updates_per_iteration": int,
    "lr_warmup_updates": int,
    "drop_negative_probability": float,
    "length_penalty_weight": float,
    "length_penalty_warmup_iterations": int,
    "max_refills": int,
    "repetition_min_period": int,
    "repetition_min_count": int,
    "repetition_penalty_weight": float,
    "server_patience_seconds": float,
    "rollout_gap_bound": float,
    "first_update_rho_bound": float,
    "max_steps": int,
    "num_train_epochs": float,
}
_NUMBERS_OR_NONE = {
    "importance_weight_cap": float,
    "rollout_budget_tokens": int,
    "rollout_pause_share": float,
    "rollout_pool_groups": int,
    "max_rollout_segments": int,
    "repetition_max_period": int,
}
_FLAGS = ("baseline_leave_one_out", "reset_optimizer", "positives_only", "disable_dropout", "fail_truncated")
_INTERVAL = "take two numbers [alpha, beta] with alpha < 0 < beta, in nats"


@dataclass
class MirrorDescentConfig(GRPOConfig):
    """`GRPOConfig` with the arguments of Kimi k1.5's objective (https://huggingface.co/papers/2501.12599, 2.3).

    Everything of `GRPOConfig` that is not about GRPO's own loss keeps its meaning. Changed defaults:
    `scale_rewards="none"` (the advantage is r - baseline, never divided by a deviation), `disable_dropout=True`
    (with dropout the log-ratio of the very first update would not be 0, and the penalty would punish noise) and
    `vllm_importance_sampling_correction=False` (`importance_weight_cap` takes its place). An option that the others
    leave without effect is refused.

    Args:
        tau:
            Strength of the relative-entropy term. The paper gives no value; 0.4 is Kimina-Prover's, the only one that
            Moonshot published. It acts from the second update of an iteration on.
        baseline:
            Estimate of tau log Z: `"mean"` (the paper's choice) or `"log_mean_exp"`, tau log mean exp(r / tau).
        baseline_leave_one_out:
            Leave the rollout itself out of its baseline. The paper keeps it in.
        updates_per_iteration:
            Optimizer steps on the rollouts of one iteration. Sets TRL's `steps_per_generation` to
            `updates_per_iteration * gradient_accumulation_steps / num_iterations`: with `num_iterations=1` every
            rollout is used once an iteration, in this many mini-batches. The paper gives no number; Kimi-Dev takes 5.
        reset_optimizer:
            Clear the optimizer's state at the start of each iteration, as the paper does, because each iteration is a
            new optimization problem.
        lr_warmup_updates:
            Updates at the start of each iteration over which the learning rate rises linearly to the scheduler's: the
            first step of Adam after a reset is full-sized whatever the gradient. The paper has no such warm-up.
        penalty_level:
            `"sequence"` squares the log-ratio of the whole response (the paper); `"token"` sums the squares of the
            tokens (ROLL, Tinker, Kimi K2.5).
        length_normalization:
            `"none"` (the paper), `"length"` divides a response's loss by its tokens, `"max_length"` by
            `max_completion_length`.
        log_ratio_interval:
            Kimi K2.5's [alpha, beta] in nats: tokens with a log-ratio outside give no policy gradient.
        drop_negative_probability:
            Kimina-Prover's omega: probability that a rollout with a negative advantage is dropped (0.5 there).
        positives_only:
            Train by ReST, the paper's comparison (3.5): fit the best responses of each problem, nothing else.
        importance_weight_cap:
            Weigh the policy term of each token by min(pi_ref / pi_rollout, cap), with the log-probabilities of vLLM or
            of a `rollout_func`. `None` leaves it unweighted, as the paper.
        length_penalty_weight:
            Weight of the in-group length reward (2.3.3) beside the other rewards. The paper gives no value; 0 keeps
            the rewards as they are, since the length reward needs a final reward that tells right from wrong.
        length_penalty_warmup_iterations:
            Iterations without the length reward, which then counts in full. The paper gives no number.
        max_refills:
            How often an iteration may replace its dead groups (all rewards equal: no policy gradient) by groups of
            newly drawn problems. The paper keeps dead groups.
        rollout_budget_tokens:
            Partial rollouts (2.6): tokens that a trajectory may get in one iteration. Unfinished ones are kept, and
            go on first in the next iteration. `None` generates every response to its end. The paper gives no number.
        rollout_pause_share:
            Kimi K3's rule: as soon as this share of an iteration's trajectories has ended, the others pause (each
            process looks at its own share of them). Goes with `rollout_budget_tokens` or stands alone.
        rollout_pool_groups:
            Groups in flight when an iteration generates: start more than needed. `None` starts as many groups as an
            iteration trains on, less those that are ready already.
        max_rollout_segments:
            Iterations over which a trajectory may be spread; in its last one it runs to its end, whatever the budget.
            `None` sets no limit.
        segments_in_loss:
            `"all"` trains on whole responses, with log-probabilities under the current iteration's policy throughout
            (the paper's identity holds for any response); `"current"` only on the tokens that this policy wrote.
        repetition_max_period:
            Stop a response that ends in `repetition_min_count` copies of the same tokens, of at least
            `repetition_min_period` and at most this many (2.6). `None` never does. The paper gives no rule.
        repetition_min_period:
            Shortest period of a repetition in tokens.
        repetition_min_count:
            Copies in a row that make a repetition.
        repetition_penalty_weight:
            Weight of a reward of -1 for a response that was stopped for its repetitions.
        server_patience_seconds:
            How long a vLLM server (`vllm_mode="server"`) may leave the question for its health unanswered before it
            counts as lost. The training then saves a checkpoint, with all rollouts so far, and ends.
        rollout_gap_bound:
            Warn when the log-probabilities of the sampler differ from the trainer's by more than this in the mean,
            nats.
        first_update_rho_bound:
            Warn, once, when |rho| of a response in an iteration's first update is larger, nats. No weight has moved
            then, so rho is 0 but for rounding; see `docs/objective.md`.
        fail_truncated:
            Let a response that was cut off, at `max_completion_length` or for its repetitions, have no final reward
            above 0. `None` does so with any of the rollout or repetition options, and leaves rewards as they are
            without.
    """

    _VALID_DICT_FIELDS = GRPOConfig._VALID_DICT_FIELDS

    tau: float = field(default=0.4, metadata={"help": "Strength of the relative-entropy term."})
    baseline: Literal["mean", "log_mean_exp"] = field(
        default="mean", metadata={"help": "Estimate of tau log Z: 'mean' or 'log_mean_exp'."}
    )
    baseline_leave_one_out: bool = field(
        default=False, metadata={"help": "Leave the rollout itself out of its baseline."}
    )
    updates_per_iteration: int = field(
        default=4, metadata={"help": "Optimizer steps on the rollouts of one iteration."}
    )
    reset_optimizer: bool = field(
        default=True, metadata={"help": "Clear the optimizer's state at the start of each iteration."}
    )
    lr_warmup_updates: int = field(
        default=0, metadata={"help": "Updates of linear learning-rate warm-up at the start of each iteration."}
    )
    penalty_level: Literal["sequence", "token"] = field(
        default="sequence", metadata={"help": "Square the log-ratio of the 'sequence' or of each 'token'."}
    )
    length_normalization: Literal["none", "length", "max_length"] = field(
        default="none", metadata={"help": "Divide a response's loss by: 'none', its 'length', or 'max_length'."}
    )
    log_ratio_interval: list[float] | None = field(
        default=None, metadata={"help": "[alpha, beta] in nats; tokens outside give no policy gradient."}
    )
    drop_negative_probability: float = field(
        default=0.0, metadata={"help": "Probability that a rollout with a negative advantage is dropped."}
    )
    positives_only: bool = field(default=False, metadata={"help": "Train by ReST: fit the best responses only."})
    importance_weight_cap: float | None = field(
        default=None, metadata={"help": "Cap of the importance weights against the engine's log-probabilities."}
    )
    length_penalty_weight: float = field(default=0.0, metadata={"help": "Weight of the in-group length reward."})
    length_penalty_warmup_iterations: int = field(
        default=0, metadata={"help": "Iterations without the length reward."}
    )
    max_refills: int = field(
        default=0, metadata={"help": "How often an iteration may replace its dead groups by new problems."}
    )
    rollout_budget_tokens: int | None = field(
        default=None, metadata={"help": "Tokens that a trajectory may get in one iteration; None: to its end."}
    )
    rollout_pause_share: float | None = field(
        default=None, metadata={"help": "Pause the other trajectories when this share has ended; None: never."}
    )
    rollout_pool_groups: int | None = field(
        default=None, metadata={"help": "Groups in flight; None: as many as an iteration trains on."}
    )
    max_rollout_segments: int | None = field(
        default=None, metadata={"help": "Iterations over which a trajectory may be spread; None: any number."}
    )
    segments_in_loss: Literal["all", "current"] = field(
        default="all", metadata={"help": "Train on 'all' segments of a response or on the 'current' one only."}
    )
    repetition_max_period: int | None = field(
        default=None, metadata={"help": "Longest period of a repetition that stops a response; None: never stops."}
    )
    repetition_min_period: int = field(default=1, metadata={"help": "Shortest period of a repetition, tokens."})
    repetition_min_count: int = field(default=16, metadata={"help": "Copies in a row that make a repetition."})
    repetition_penalty_weight: float = field(
        default=0.0, metadata={"help": "Weight of a reward of -1 for a response stopped for its repetitions."}
    )
    server_patience_seconds: float = field(
        default=60.0, metadata={"help": "How long a vLLM server may not answer before it counts as lost."}
    )
    rollout_gap_bound: float = field(
        default=0.1, metadata={"help": "Warn beyond this mean gap of log-probabilities to the sampler, nats."}
    )
    first_update_rho_bound: float = field(
        default=0.1, metadata={"help": "Warn beyond this |rho| in an iteration's first update, nats."}
    )
    fail_truncated: bool | None = field(
        default=None,
        metadata={"help": "Let a response that was cut off have no final reward above 0; None: with rollout options."},
    )
    scale_rewards: str = field(
        default="none", metadata={"help": "Kept at 'none': the advantage is the reward minus the baseline."}
    )
    vllm_importance_sampling_correction: bool = field(
        default=False, metadata={"help": "Kept at False: GRPO's loss would take it; see importance_weight_cap."}
    )
    disable_dropout: bool = field(
        default=True, metadata={"help": "Disable dropout, so that the log-ratio of an iteration's start is 0."}
    )

    def __post_init__(self) -> None:
        check_values(self, [each.name for each in fields(GRPOConfig)])
        self._check_values()
        self._set_window()
        super().__post_init__()
        # Set by TRL above.
        assert self.steps_per_generation is not None
        assert self.generation_batch_size is not None
        assert self.num_generations is not None
        window = self.steps_per_generation * self.num_iterations
        if window != self.updates_per_iteration * self.gradient_accumulation_steps:
            raise ValueError(
                f"generation_batch_size={self.generation_batch_size} gives "
                f"{window / self.gradient_accumulation_steps:g} updates an iteration but updates_per_iteration="
                f"{self.updates_per_iteration}; leave generation_batch_size out, it follows from it."
            )
        groups = self.generation_batch_size // self.num_generations
        if self.rollout_pool_groups is not None and self.rollout_pool_groups < groups:
            raise ValueError(
                f"rollout_pool_groups={self.rollout_pool_groups} is below the {groups} groups that an iteration "
                f"trains on; take {groups} or more."
            )

    def repetition_rule(self) -> RepetitionRule | None:
        """Return when a response counts as repeating itself, or None if it never does."""
        if self.repetition_max_period is None:
            return None
        return RepetitionRule(self.repetition_max_period, self.repetition_min_count, self.repetition_min_period)

    @property
    def has_partial_rollouts(self) -> bool:
        """Whether a response may be generated over several iterations."""
        return self.rollout_budget_tokens is not None or self.rollout_pause_share is not None

    @property
    def batches_in_flight(self) -> int:
        """Most rollouts that are generated at once, in batches of an iteration, rounded up.

        Without `rollout_pool_groups`, where an iteration starts a batch at most: as many as a trajectory has segments,
        and two where only `rollout_pause_share` says how many that are.
        """
        assert self.generation_batch_size is not None
        assert self.num_generations is not None
        if self.rollout_pool_groups is not None:
            return -(-self.rollout_pool_groups * self.num_generations // self.generation_batch_size)
        if self.rollout_budget_tokens is not None and self.max_completion_length is not None:
            return -(-self.max_completion_length // self.rollout_budget_tokens)
        return 2 if self.has_partial_rollouts else 1

    def fails_truncated(self) -> bool:
        """Return whether a response that was cut off can have no final reward above 0."""
        if self.fail_truncated is not None:
            return self.fail_truncated
        return self.has_partial_rollouts or self.repetition_max_period is not None

    def _set_window(self) -> None:
        if self.steps_per_generation is not None:
            raise ValueError(
                f"steps_per_generation={self.steps_per_generation} cannot be set: it follows from "
                f"updates_per_iteration={self.updates_per_iteration}; set that instead."
            )
        micro_steps = self.updates_per_iteration * self.gradient_accumulation_steps
        if micro_steps % self.num_iterations:
            raise ValueError(
                f"updates_per_iteration={self.updates_per_iteration} times gradient_accumulation_steps="
                f"{self.gradient_accumulation_steps} is not divisible by num_iterations={self.num_iterations}, so the "
                "rollouts cannot be passed over whole; make updates_per_iteration a multiple of num_iterations."
            )
        if self.generation_batch_size is None:
            self.steps_per_generation = micro_steps // self.num_iterations

    def _check_values(self) -> None:
        defaults = {known.name: known.default for known in fields(GRPOConfig)}
        defaults_here = {known.name: known.default for known in fields(self)}
        for name in _FOREIGN_OPTIONS:
            if getattr(self, name) != defaults[name]:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} belongs to GRPO's loss, which MirrorDescentTrainer does not use; "
                    "leave it out."
                )
        if self.scale_rewards not in ("none", False):
            raise ValueError(
                f"scale_rewards={self.scale_rewards!r} would divide the advantage by a deviation, which the objective "
                "does not; leave it at 'none'."
            )
        given = {name: kind for name, kind in _NUMBERS_OR_NONE.items() if getattr(self, name) is not None}
        for name, kind in {**_NUMBERS, **given}.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, kind)):
                number = "whole number" if kind is int else "number"
                raise ValueError(f"{name}={value!r} is not a {number}; the default is {defaults_here[name]}.")
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool | None):
                raise ValueError(f"{name}={getattr(self, name)!r} is neither true nor false.")
        interval = self.log_ratio_interval
        if interval is not None and not _is_list_of_numbers(interval):
            raise ValueError(f"log_ratio_interval={interval!r} is no list of numbers; {_INTERVAL}.")
        choices = {
            "baseline": ("mean", "log_mean_exp"),
            "penalty_level": ("sequence", "token"),
            "length_normalization": ("none", "length", "max_length"),
            "segments_in_loss": ("all", "current"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; take one of {', '.join(known)}.")
        bounds = {
            "tau": 0 <= self.tau < math.inf and (self.baseline == "mean" or self.tau > 0),
            "updates_per_iteration": self.updates_per_iteration >= 1,
            "lr_warmup_updates": 0 <= self.lr_warmup_updates <= self.updates_per_iteration,
            "drop_negative_probability": 0 <= self.drop_negative_probability <= 1,
            "log_ratio_interval": self.log_ratio_interval is None
            or (len(self.log_ratio_interval) == 2 and self.log_ratio_interval[0] < 0 < self.log_ratio_interval[1]),
            "importance_weight_cap": self.importance_weight_cap is None or self.importance_weight_cap > 0,
            "length_penalty_weight": self.length_penalty_weight >= 0,
            "length_penalty_warmup_iterations": self.length_penalty_warmup_iterations >= 0,
            "max_refills": self.max_refills >= 0,
            "rollout_budget_tokens": self.rollout_budget_tokens is None or self.rollout_budget_tokens >= 1,
            "rollout_pause_share": self.rollout_pause_share is None or 0 < self.rollout_pause_share < 1,
            "max_rollout_segments": self.max_rollout_segments is None or self.max_rollout_segments >= 1,
            "repetition_penalty_weight": self.repetition_penalty_weight >= 0,
            "server_patience_seconds": self.server_patience_seconds > 0,
            "rollout_gap_bound": self.rollout_gap_bound > 0,
            "first_update_rho_bound": self.first_update_rho_bound > 0,
        }
        cures = {
            "tau": "take a number > 0 (0 is allowed with baseline='mean')",
            "updates_per_iteration": "take 1 or more; from 2 on tau acts",
            "lr_warmup_updates": f"take 0 to updates_per_iteration={self.updates_per_iteration}",
            "drop_negative_probability": "take a probability from 0 to 1",
            "log_ratio_interval": _INTERVAL,
            "importance_weight_cap": "take a number > 0, or leave it out",
            "rollout_budget_tokens": "take 1 or more tokens, or leave it out",
            "rollout_pause_share": "take a share between 0 and 1, or leave it out",
            "max_rollout_segments": "take 1 or more, or leave it out",
            "server_patience_seconds": "take more than 0 seconds",
            "rollout_gap_bound": "take more than 0 nats",
            "first_update_rho_bound": "take more than 0 nats",
        }
        for name, good in bounds.items():
            if not good:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is out of range; {cures.get(name, 'take 0 or more')}."
                )
        self.repetition_rule()
        if self.rollout_pause_share is not None and self.use_vllm and self.vllm_mode == "server":
            raise ValueError(
                f"rollout_pause_share={self.rollout_pause_share} needs an engine that is driven step by step, which a "
                "server is not; set rollout_budget_tokens instead, or vllm_mode='colocate'."
            )
        steps = self.has_partial_rollouts or self.repetition_max_period is not None
        if steps and self.use_vllm and self.vllm_mode == "colocate" and self.vllm_tensor_parallel_size > 1:
            raise ValueError(
                f"vllm_tensor_parallel_size={self.vllm_tensor_parallel_size} shares an engine among processes, and "
                "the rollout and repetition options drive one in each process; set it to 1, or vllm_mode='server'."
            )
        if self.max_refills > 0 and self.has_partial_rollouts:
            raise ValueError(
                f"max_refills={self.max_refills} would wait for whole new groups, which partial rollouts avoid; "
                "leave one of them out."
            )
        if self.neftune_noise_alpha is not None:
            raise ValueError(
                f"neftune_noise_alpha={self.neftune_noise_alpha} adds noise to every forward pass, so that the "
                "log-ratio of an iteration's start would not be 0; leave it out."
            )
        check_effects(self)


def _is_list_of_numbers(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in value
    )
