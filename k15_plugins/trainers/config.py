"""Arguments of `MirrorDescentTrainer`: a list of fields, each with its help, its range and its cure, and so long."""

from dataclasses import dataclass, field, fields
from typing import Literal

from trl import GRPOConfig

from k15_plugins.rollouts.repetition import RepetitionRule
from k15_plugins.shaping.mixing import check_lambda
from k15_plugins.trainers.effects import check_effects
from k15_plugins.trainers.knob import ABOVE_0, PROBABILITY, SHARE, at_least, documented, knob
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
_INTERVAL = (
    lambda value: _is_list_of_numbers(value) and len(value) == 2 and value[0] < 0 < value[1],
    "two numbers [alpha, beta] with alpha < 0 < beta, in nats",
)


@documented
@dataclass
class MirrorDescentConfig(GRPOConfig):
    """`GRPOConfig` with the arguments of Kimi k1.5's objective (https://huggingface.co/papers/2501.12599, 2.3).

    Everything of `GRPOConfig` that is not about GRPO's own loss keeps its meaning. Changed defaults:
    `scale_rewards="none"` (the advantage is r - baseline, never divided by a deviation), `disable_dropout=True`
    (with dropout the log-ratio of the very first update would not be 0, and the penalty would punish noise) and
    `vllm_importance_sampling_correction=False` (`importance_weight_cap` takes its place). An option that the others
    leave without effect is refused.
    """

    _VALID_DICT_FIELDS = GRPOConfig._VALID_DICT_FIELDS

    tau: float = knob(
        0.4,
        "Strength of the relative-entropy term. The paper gives no value; 0.4 is Kimina-Prover's, the only "
        "one that Moonshot published. It acts from the second update of an iteration on.",
        at_least(0),
    )
    baseline: Literal["mean", "log_mean_exp"] = knob(
        "mean",
        'Estimate of tau log Z: `"mean"` (the paper\'s choice) or `"log_mean_exp"`, tau log mean exp(r / tau).',
    )
    baseline_leave_one_out: bool = knob(
        False,
        "Leave the rollout itself out of its baseline. The paper keeps it in.",
    )
    updates_per_iteration: int = knob(
        4,
        "Optimizer steps on the rollouts of one iteration. Sets TRL's `steps_per_generation` to "
        "`updates_per_iteration * gradient_accumulation_steps / num_iterations`: with `num_iterations=1` "
        "every rollout is used once an iteration, in this many mini-batches. The paper gives no number; "
        "Kimi-Dev takes 5.",
        at_least(1),
    )
    reset_optimizer: bool = knob(
        True,
        "Clear the optimizer's state at the start of each iteration, as the paper does, because each "
        "iteration is a new optimization problem.",
    )
    lr_warmup_updates: int = knob(
        0,
        "Updates at the start of each iteration over which the learning rate rises linearly to the "
        "scheduler's: the first step of Adam after a reset is full-sized whatever the gradient. The paper has "
        "no such warm-up.",
        at_least(0),
    )
    penalty_level: Literal["sequence", "token"] = knob(
        "sequence",
        '`"sequence"` squares the log-ratio of the whole response (the paper); `"token"` sums the squares of '
        "the tokens (ROLL, Tinker, Kimi K2.5).",
    )
    length_normalization: Literal["none", "length", "max_length"] = knob(
        "none",
        '`"none"` (the paper), `"length"` divides a response\'s loss by its tokens, `"max_length"` by '
        "`max_completion_length`.",
    )
    log_ratio_interval: list[float] | None = knob(
        None,
        "Kimi K2.5's [alpha, beta] in nats: tokens with a log-ratio outside give no policy gradient.",
        _INTERVAL,
    )
    drop_negative_probability: float = knob(
        0.0,
        "Kimina-Prover's omega: probability that a rollout with a negative advantage is dropped (0.5 there).",
        PROBABILITY,
    )
    positives_only: bool = knob(
        False,
        "Train by ReST, the paper's comparison (3.5): fit the best responses of each problem, nothing else.",
    )
    importance_weight_cap: float | None = knob(
        None,
        "Weigh the policy term of each token by min(pi_ref / pi_rollout, cap), with the log-probabilities of "
        "vLLM or of a `rollout_func`. `None` leaves it unweighted, as the paper.",
        ABOVE_0,
    )
    length_penalty_weight: float = knob(
        0.0,
        "Weight of the in-group length reward (2.3.3) beside the other rewards. The paper gives no value; 0 "
        "keeps the rewards as they are, since the length reward needs a final reward that tells right from "
        "wrong.",
        at_least(0),
    )
    length_penalty_warmup_iterations: int = knob(
        0,
        "Iterations without the length reward, which then counts in full. The paper gives no number.",
        at_least(0),
    )
    process_reward: str | None = knob(
        None,
        "Name of the reward function that scores the steps of a response, from 0 to 1. It and the final reward are "
        "then mixed into `dual_reward` = lambda * final + (1 - lambda) * process, which takes over the final reward's "
        "weight; both parts are logged. `None` gives no credit for steps, as the paper.",
    )
    dual_lambda_low: float = knob(
        0.3,
        "lambda of a group without a right answer; it rises with the share of right answers.",
        PROBABILITY,
    )
    dual_lambda_high: float = knob(
        0.7,
        "lambda of a group of right answers. Equal to `dual_lambda_low`, lambda is fixed.",
        PROBABILITY,
    )
    dual_ordered: bool = knob(
        False,
        "Keep the dual reward of a right answer at 0.5 at least, and of a wrong one at 0.5 at most: with lambda below "
        "0.5, perfect steps before a wrong answer are worth more than a right answer without steps.",
    )
    max_refills: int = knob(
        0,
        "How often an iteration may replace its dead groups (all rewards equal: no policy gradient) by groups "
        "of newly drawn problems. The paper keeps dead groups.",
        at_least(0),
    )
    rollout_budget_tokens: int | None = knob(
        None,
        "Partial rollouts (2.6): tokens that a trajectory may get in one iteration. Unfinished ones are kept, "
        "and go on first in the next iteration. `None` generates every response to its end. The paper gives "
        "no number.",
        at_least(1),
    )
    rollout_pause_share: float | None = knob(
        None,
        "Kimi K3's rule: as soon as this share of an iteration's trajectories has ended, the others pause "
        "(each process looks at its own share of them). Goes with `rollout_budget_tokens` or stands alone.",
        SHARE,
    )
    rollout_pool_groups: int | None = knob(
        None,
        "Groups in flight when an iteration generates: start more than needed. `None` starts as many groups "
        "as an iteration trains on, less those that are ready already.",
        at_least(1),
    )
    max_rollout_segments: int | None = knob(
        None,
        "Iterations over which a trajectory may be spread; in its last one it runs to its end, whatever the "
        "budget. `None` sets no limit.",
        at_least(1),
    )
    segments_in_loss: Literal["all", "current"] = knob(
        "all",
        '`"all"` trains on whole responses, with log-probabilities under the current iteration\'s policy '
        'throughout (the paper\'s identity holds for any response); `"current"` only on the tokens that this '
        "policy wrote.",
    )
    repetition_max_period: int | None = knob(
        None,
        "Stop a response that ends in `repetition_min_count` copies of the same tokens, of at least "
        "`repetition_min_period` and at most this many (2.6). `None` never does. The paper gives no rule.",
        at_least(1),
    )
    repetition_min_period: int = knob(
        1,
        "Shortest period of a repetition in tokens.",
        at_least(1),
    )
    repetition_min_count: int = knob(
        16,
        "Copies in a row that make a repetition.",
        at_least(2),
    )
    repetition_penalty_weight: float = knob(
        0.0,
        "Weight of a reward of -1 for a response that was stopped for its repetitions.",
        at_least(0),
    )
    server_patience_seconds: float = knob(
        60.0,
        'How long a vLLM server (`vllm_mode="server"`) may leave the question for its health unanswered '
        "before it counts as lost. The training then saves a checkpoint, with all rollouts so far, and ends.",
        ABOVE_0,
    )
    rollout_gap_bound: float = knob(
        0.1,
        "Warn when the log-probabilities of the sampler differ from the trainer's by more than this in the "
        "mean, nats.",
        ABOVE_0,
    )
    first_update_rho_bound: float = knob(
        0.1,
        "Warn, once, when |rho| of a response in an iteration's first update is larger, nats. No weight has "
        "moved then, so rho is 0 but for rounding; see `docs/objective.md`.",
        ABOVE_0,
    )
    fail_truncated: bool | None = knob(
        None,
        "Let a response that was cut off, at `max_completion_length` or for its repetitions, have no final "
        "reward above 0. `None` does so with any of the rollout or repetition options, and leaves rewards as "
        "they are without.",
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
        check_values(self)
        self._check_together()
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

    def _check_together(self) -> None:
        defaults = {known.name: known.default for known in fields(GRPOConfig)}
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
        if self.tau == 0 and self.baseline != "mean":
            raise ValueError(
                f"tau must be above 0 with baseline={self.baseline!r}, got 0; set tau, or baseline='mean'."
            )
        if self.lr_warmup_updates > self.updates_per_iteration:
            raise ValueError(
                f"lr_warmup_updates must be at most updates_per_iteration={self.updates_per_iteration}, got "
                f"{self.lr_warmup_updates}; lower it."
            )
        self.repetition_rule()
        check_lambda(self.dual_lambda_low, self.dual_lambda_high, "dual_lambda_low", "dual_lambda_high")
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
