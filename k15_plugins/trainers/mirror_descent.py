"""Kimi k1.5's reinforcement learning as a trainer: `GRPOTrainer` with the mirror-descent objective (paper 2.3).

One iteration, in the order of the calls (TRL's hooks in brackets, see also `sampled_grpo`):

    [_generate_and_score_completions]              Iteration(number); the optimizer's state is cleared
      _rollouts_of
        _choose_problems                           sampler.draw -> problems_N; or PartialRollouts.collect -> groups
        [_tokenize_prompts]
        [_generate_single_turn]                    TRL generates; or the rollouts of groups are handed out
        [_calculate_rewards]                       reward functions -> verdicts; + length reward, repetition penalty
        _set_advantages                            A = r - tau log Z, keep
        _observe                                   sampler.observe
      fill_up                                      fewer groups were ready than a batch has
      replace_groups                               dead groups, by _rollouts_of again
    [_compute_loss]                                for each micro-batch: -A rho + (tau / 2) rho^2
"""

import warnings
from functools import partial
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor

from k15_plugins.generation.vllm_server import ServerLost
from k15_plugins.objective import UpdateLoss, baseline, is_in_group_of_equals, keep_after_drop, rest_advantages
from k15_plugins.trainers.added_rewards import ADDED_REWARDS, add_rewards, fill_added_rewards
from k15_plugins.trainers.checks import check_mirror_descent
from k15_plugins.trainers.config import MirrorDescentConfig
from k15_plugins.trainers.dropout import silence_dropout_attributes
from k15_plugins.trainers.fill import fill_up
from k15_plugins.trainers.first_update import warn_of_first_rho
from k15_plugins.trainers.iteration import Iteration
from k15_plugins.trainers.iteration_warmup import IterationWarmup
from k15_plugins.trainers.loss_figures import log_groups, log_loss, log_verdicts, mean_over_processes
from k15_plugins.trainers.partial_rollout_trainer import PartialRolloutTrainer
from k15_plugins.trainers.refill import replace_groups
from k15_plugins.trainers.reward_checks import check_added_reward
from k15_plugins.trainers.rollout_gap import rollout_gap, warn_of_rollout_gap
from k15_plugins.trainers.rows_without_padding import logps_of_rows_cut_to_their_tokens
from k15_plugins.trainers.sampled_grpo import SampledGRPOTrainer

# What TRL's log-probability function takes beside the tokens; absent for text.
_FORWARD_KEYS = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)


class MirrorDescentTrainer(PartialRolloutTrainer):
    """Online mirror descent with an in-group length penalty (https://huggingface.co/papers/2501.12599, 2.3.2-2.3.4).

    Used like `GRPOTrainer`. The reference policy is the policy that sampled the iteration's rollouts: its
    log-probabilities are TRL's `old_per_token_logps`, so there is no second model. `beta` adds TRL's drift control
    towards the starting policy.

    Args:
        model: As `GRPOTrainer`.
        reward_funcs: As `GRPOTrainer`.
        args: A `MirrorDescentConfig`. Defaults to `MirrorDescentConfig()`.
        **kwargs: As `GRPOTrainer`, and `sampler`, `final_reward`, `final_reward_threshold` of `SampledGRPOTrainer`.

    Raises:
        ValueError: If `args` is another trainer's config, DeepSpeed is to have its optimizer reset, dead groups of a
            data set with images be refilled, or importance weights be taken from an engine without log-probabilities.
    """

    _tag_names = ["trl", "mirror-descent", "kimi-k1.5"]  # noqa: RUF012
    _name = "Kimi k1.5 mirror descent"
    _paper = {  # noqa: RUF012
        "title": "Kimi k1.5: Scaling Reinforcement Learning with LLMs",
        "id": "2501.12599",
        "citation": """\
@article{kimi2025k15,
    title  = {{Kimi k1.5: Scaling Reinforcement Learning with LLMs}},
    author = {{Kimi Team}},
    year   = 2025,
    eprint = {arXiv:2501.12599},
}""",
    }

    def __init__(self, model: Any, reward_funcs: Any = None, args: MirrorDescentConfig | None = None, **kwargs: Any):
        args = MirrorDescentConfig() if args is None else args
        if not isinstance(args, MirrorDescentConfig):
            raise ValueError(
                f"args must be a MirrorDescentConfig, got a {type(args).__name__}; it takes all its fields."
            )
        for name, option in ADDED_REWARDS.items():
            check_added_reward(reward_funcs, name, option, getattr(args, option))
        super().__init__(model, reward_funcs, args, **kwargs)
        self._has_warned_of_first_rho = False
        if self.args.disable_dropout:
            silence_dropout_attributes(self.model)
        add_rewards(self)
        self._fails_truncated = self.args.fails_truncated()
        if self.args.lr_warmup_updates > 0:
            self.add_callback(IterationWarmup(self))
        check_mirror_descent(self)

    def _generate_and_score_completions(self, inputs: list) -> dict[str, Any]:
        now = Iteration(self.iteration)
        if not self.model.training:
            return self._rollouts_of(inputs, now)
        if self.args.reset_optimizer:
            self._reset_optimizer()
        output = self._rollouts_of(inputs, now)
        dead_before = self._dead_groups(output)
        drawn = [now]
        if self.rollouts is not None:
            if self.args.segments_in_loss == "current":
                output["tool_mask"] = self._mask_of_current_segments(now, output["completion_mask"])
            output = fill_up(output, len(inputs))
        while len(drawn) <= self.args.max_refills:
            dead = self._dead_local_groups(output)
            most = int(gather(torch.tensor([len(dead)], device=self.accelerator.device)).max())
            if most == 0:
                break
            drawn.append(Iteration(self.iteration, refill=len(drawn)))
            try:
                spare = SampledGRPOTrainer._rollouts_of(self, inputs[: most * self.num_generations], drawn[-1])
            except ServerLost as lost:
                # The batch is whole without it. The next iteration saves, and ends the training.
                warnings.warn(f"{lost}; dead groups of this iteration stay.", stacklevel=2)
                drawn.pop()
                break
            output = replace_groups(output, spare, dead, self.num_generations, self._tokenizer.pad_token_id)
        # Rows that only fill the batch are no groups; a batch is either filled or refilled.
        dead_after = self._dead_groups(output) if self.args.max_refills > 0 else dead_before
        metrics = self._metrics["train"]
        log_groups(metrics, drawn, self.num_generations, dead_after.mean().item())
        if self.args.max_refills > 0:
            metrics["k15/refilled_groups"].append((dead_before.sum() - dead_after.sum()).item())
        return output

    def _reset_optimizer(self) -> None:
        self.optimizer.state.clear()

    def _calculate_rewards(
        self, inputs: list, prompts: list, completions: list, completion_ids_list: list[list[int]]
    ) -> Tensor:
        rewards_NF = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        fill_added_rewards(self, rewards_NF, self._now)
        return rewards_NF

    def _set_advantages(self, now: Iteration, output: dict[str, Any]) -> None:
        """Put r - tau log Z in place of TRL's advantages, and which rollouts stay in the loss beside it."""
        args, k = self.args, self.num_generations
        rewards_NF = now.verdicts.rewards_NF
        weighted_NF = rewards_NF * self.reward_weights.to(rewards_NF.device)
        scorable_N = ~rewards_NF.isnan().all(dim=1)
        rewards_N = torch.where(scorable_N, weighted_NF.nansum(dim=1), torch.nan)
        if args.positives_only:
            baseline_N = torch.zeros_like(rewards_N)
            advantages_N = rest_advantages(rewards_N, k)
            keep_N = advantages_N
        else:
            baseline_N = baseline(rewards_N, k, args.baseline, tau=args.tau, leave_one_out=args.baseline_leave_one_out)
            advantages_N = rewards_N - baseline_N
            advantages_N[advantages_N.isnan()] = 0.0
            # Equal rewards mean A = 0. What rounding leaves would be a full-sized step of a reset Adam.
            advantages_N[is_in_group_of_equals(rewards_N, k)] = 0.0
            generator = torch.Generator().manual_seed((args.seed << 32) + (now.number << 8) + now.refill)
            keep_N = keep_after_drop(advantages_N, args.drop_negative_probability, generator) * scorable_N
        now.advantages_N = advantages_N
        table: Any = self._logs["advantages"]  # TRL's table of completions ends with these rollouts
        for row in range(-len(advantages_N), 0):
            table[row] = advantages_N[row].item()

        mine = self._local_share(len(advantages_N))
        output["advantages"] = advantages_N[mine]
        output["keep"] = keep_N[mine]
        log_verdicts(self._metrics["train"], now, baseline_N, k)
        if args.importance_weight_cap is not None and "sampling_per_token_logps" not in output:
            raise ValueError(
                f"importance_weight_cap={args.importance_weight_cap} needs the engine's log-probabilities, but "
                "rollout_func gave logprobs=None; return them, or leave importance_weight_cap out."
            )
        if "sampling_per_token_logps" in output and "old_per_token_logps" in output:
            self._log_rollout_gap(now, output)

    def _log_rollout_gap(self, now: Iteration, output: dict[str, Any]) -> None:
        gap_BT, known_BT = rollout_gap(output, _loss_mask(output))
        # Older segments differ because the policy has moved on; only the current one tells of the engine.
        current_BT = known_BT
        metrics = self._metrics["train"]
        if now.groups is not None:
            current_BT = known_BT & self._mask_of_current_segments(now, output["completion_mask"]).bool()
            old = mean_over_processes(gap_BT[known_BT & ~current_BT])
            metrics["k15/old_segments_logp_gap_mean"].append(old)
        gaps = gap_BT[current_BT]
        largest = gaps.max() if gaps.numel() else gaps.sum()
        metrics["k15/rollout_logp_gap_max"].append(gather(largest).max().item())
        mean = mean_over_processes(gaps)
        metrics["k15/rollout_logp_gap_mean"].append(mean)
        warn_of_rollout_gap(mean, self.args.rollout_gap_bound)

    def _dead_groups(self, output: dict[str, Any]) -> Tensor:
        """Tell of each group of all processes whether it is dead, 0 or 1."""
        advantages_GK = gather(output["advantages"]).view(-1, self.num_generations)
        return (advantages_GK == 0).all(dim=1).float()

    def _dead_local_groups(self, output: dict[str, Any]) -> list[int]:
        advantages_GK = output["advantages"].view(-1, self.num_generations)
        return (advantages_GK == 0).all(dim=1).nonzero().flatten().tolist()

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> tuple:
        logps = partial(super()._get_per_token_logps_and_entropies, model)
        return logps_of_rows_cut_to_their_tokens(logps, *args, **kwargs)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        completion_ids = inputs["completion_ids"]
        logps_BT, entropies_BT, aux_loss = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], completion_ids], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            completion_ids.size(1),
            compute_entropy=True,
            compute_aux_loss=self.aux_loss_enabled,
            **{key: inputs.get(key) for key in _FORWARD_KEYS},
        )
        columns = self._loss_columns(inputs)
        loss, figures = self._update_loss()(logps_BT, entropies_BT, columns)
        if aux_loss is not None:
            loss = loss + self.router_aux_loss_coef * aux_loss
            mode = "train" if self.model.training else "eval"
            self._metrics[mode]["aux_loss"].append(self.accelerator.gather_for_metrics(aux_loss).mean().item())
        self._log_loss(figures, columns)
        # TRL declares that its losses are already scaled for gradient accumulation.
        return loss / self.current_gradient_accumulation_steps if self.model.training else loss

    def _update_loss(self) -> UpdateLoss:
        args = self.args
        return UpdateLoss(
            tau=0.0 if args.positives_only else args.tau,
            penalty_level=args.penalty_level,
            length_normalization=args.length_normalization,
            max_length_tokens=self.max_completion_length,
            log_ratio_interval=args.log_ratio_interval,
            importance_weight_cap=args.importance_weight_cap,
            beta=self.beta,
        )

    def _loss_columns(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Return what the loss of a micro-batch needs beside log-probabilities; see `UpdateLoss`."""
        advantages_B = inputs["advantages"]
        keep_B = inputs.get("keep", torch.ones_like(advantages_B))
        # The mean over the real rows of the whole iteration, however these are spread over its micro-batches.
        weight_B = keep_B / (len(keep_B) * inputs.get("fill_share", 1.0))
        columns = {"mask": _loss_mask(inputs), "advantages": advantages_B, "weight": weight_B}
        # TRL leaves log pi_ref out where one update spans the whole iteration: then pi_theta is pi_ref itself.
        for name, key in (
            ("ref_logps", "old_per_token_logps"),
            ("rollout_logps", "sampling_per_token_logps"),
            ("start_logps", "ref_per_token_logps"),
        ):
            if inputs.get(key) is not None:
                columns[name] = inputs[key]
        return columns

    def _log_loss(self, figures: dict[str, Tensor], columns: dict[str, Tensor]) -> None:
        metrics = self._metrics["train" if self.model.training else "eval"]
        log_loss(metrics, figures, columns)
        is_first = self._step % self.micro_steps_per_iteration < self.args.gradient_accumulation_steps
        if self.model.training and is_first and "ref_logps" in columns:
            self._log_first_rho(figures["rho"], columns["weight"])

    def _log_first_rho(self, rho_B: Tensor, weight_B: Tensor) -> None:
        rho_N = gather(rho_B)[gather(weight_B) > 0]
        if rho_N.numel() == 0:
            return
        largest, bound = rho_N.abs().max().item(), self.args.first_update_rho_bound
        self._metrics["train"]["k15/first_update_rho_abs_max"].append(largest)
        if largest > bound and not self._has_warned_of_first_rho and self.accelerator.is_main_process:
            self._has_warned_of_first_rho = True
            warn_of_first_rho(largest, bound)


def _loss_mask(batch: dict[str, Any]) -> Tensor:
    mask_BT = batch["completion_mask"]
    return mask_BT * batch["tool_mask"] if "tool_mask" in batch else mask_BT
