"""Kimi k1.5's reinforcement learning as a trainer: `GRPOTrainer` with the mirror-descent objective (paper 2.3)."""

import warnings
from functools import partial
from statistics import pstdev
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor

from k15_plugins.generation.engines import generate_whole
from k15_plugins.generation.vllm_server import ServerLost
from k15_plugins.objective import (
    baseline,
    keep_after_drop,
    rest_advantages,
)
from k15_plugins.objective.update_loss import UpdateLoss
from k15_plugins.rollouts import Group, RolloutBudget, Trajectory, repeated_period
from k15_plugins.shaping import length_penalty_is_on, length_reward
from k15_plugins.trainers.checks import check_added_reward
from k15_plugins.trainers.config import MirrorDescentConfig
from k15_plugins.trainers.dropout import silence_dropout_attributes
from k15_plugins.trainers.fill import fill_up, mask_of_last_tokens
from k15_plugins.trainers.first_update import warn_of_first_rho
from k15_plugins.trainers.iteration_warmup import IterationWarmup
from k15_plugins.trainers.padding import logps_of_rows_cut_to_their_tokens
from k15_plugins.trainers.partial_rollouts import PartialRollouts
from k15_plugins.trainers.refill import replace_groups
from k15_plugins.trainers.sampled_grpo import SampledGRPOTrainer
from k15_plugins.trainers.sampler_gap import sampler_gap, warn_of_sampler_gap
from k15_plugins.trainers.stopped import TrainingStopped

# Rewards that come after the gather, and the options that are their weights.
_ADDED_REWARDS = {"length_reward": "length_penalty_weight", "repetition_penalty": "repetition_penalty_weight"}
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


class MirrorDescentTrainer(SampledGRPOTrainer):
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
            data set with images be refilled, or importance weights be taken from a sampler without log-probabilities.
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
                f"args is a {type(args).__name__}; give a MirrorDescentConfig, which takes all its fields."
            )
        for name, option in _ADDED_REWARDS.items():
            check_added_reward(reward_funcs, name, option, getattr(args, option))
        super().__init__(model, reward_funcs, args, **kwargs)
        self._group_accuracies: list[float] = []
        self._has_warned_of_first_rho = False
        if self.args.disable_dropout:
            silence_dropout_attributes(self.model)
        for name, option in _ADDED_REWARDS.items():
            if getattr(self.args, option) > 0:
                self._add_reward(name, getattr(self.args, option))
        self._fails_truncated = self.args.fails_truncated()
        self.repetition = self.args.repetition_rule()
        self.rollouts = self._build_rollouts()
        self._taken: list[Group] = []
        if self.args.lr_warmup_updates > 0:
            self.add_callback(IterationWarmup(self))
        knows_the_sampler = self.args.use_vllm or self.rollout_func is not None or self.rollouts is not None
        if self.args.importance_weight_cap is not None and not knows_the_sampler:
            raise ValueError(
                f"importance_weight_cap={self.args.importance_weight_cap} needs the sampler's log-probabilities; "
                "transformers generation gives them only with the rollout and repetition options; set use_vllm=True, "
                "give a rollout_func, or leave it out."
            )
        if self.args.sampler_gap_bound != MirrorDescentConfig.sampler_gap_bound and not knows_the_sampler:
            raise ValueError(
                f"sampler_gap_bound={self.args.sampler_gap_bound} has no effect, for transformers generation gives "
                "the sampler's log-probabilities only with the rollout and repetition options; set use_vllm=True, "
                "give a rollout_func, or leave it out."
            )
        if self.args.reset_optimizer and self.is_deepspeed_enabled:
            raise ValueError(
                "reset_optimizer=True cannot clear an optimizer that DeepSpeed owns; set reset_optimizer=False."
            )
        if self.args.max_refills > 0 and (self.sampler is None or self._is_vlm):
            raise ValueError(
                f"max_refills={self.args.max_refills} needs text prompts in a data set with a length; "
                "set max_refills=0."
            )
        rows = self.args.per_device_train_batch_size * self.args.steps_per_generation
        if self.args.max_refills > 0 and rows % self.num_generations:
            raise ValueError(
                f"max_refills={self.args.max_refills} needs whole groups on each process, but a process has {rows} "
                f"rollouts and num_generations={self.num_generations}; make the one divisible by the other."
            )

    def _build_rollouts(self) -> PartialRollouts | None:
        args = self.args
        foreign = self.tools or self.rollout_func is not None or args.use_transformers_continuous_batching
        if not args.has_partial_rollouts and self.repetition is None:
            # A server is watched in any case, so that its loss loses no rollouts.
            is_served = args.use_vllm and args.vllm_mode == "server"
            if not is_served or self.sampler is None or foreign:
                return None
        if self.sampler is None or foreign:
            raise ValueError(
                "rollout_budget_tokens, rollout_pause_share and repetition_max_period need a train_dataset with a "
                "length, and no tools, rollout_func or use_transformers_continuous_batching; leave them out."
            )
        budget = RolloutBudget(
            max_tokens=args.max_completion_length,
            tokens=args.rollout_budget_tokens,
            pause_share=args.rollout_pause_share,
            max_segments=args.max_rollout_segments,
        )
        return PartialRollouts(self, budget, args.rollout_pool_groups, self.repetition)

    def _add_reward(self, name: str, weight: float) -> None:
        """Take a reward in as one more column, so that TRL weighs and logs it like the others."""
        self.reward_funcs = [*self.reward_funcs, _comes_after_the_gather]
        self.reward_func_names = [*self.reward_func_names, name]
        self.reward_processing_classes = [*self.reward_processing_classes, None]
        weights = torch.tensor([weight], dtype=self.reward_weights.dtype, device=self.reward_weights.device)
        self.reward_weights = torch.cat([self.reward_weights, weights])

    def _column(self, name: str) -> int:
        return self.reward_func_names.index(name)

    def _generate_and_score_completions(self, inputs: list) -> dict[str, Any]:
        if not self.model.training:
            try:
                return super()._generate_and_score_completions(inputs)
            except ServerLost as lost:
                raise self._end_of_training(lost) from lost
        if self.args.reset_optimizer:
            self._reset_optimizer()
        self._group_accuracies = []
        try:
            output = super()._generate_and_score_completions(inputs)
        except ServerLost as lost:
            raise self._end_of_training(lost) from lost
        dead_before = self._dead_groups(output)
        if self.rollouts is not None:
            if self.args.segments_in_loss == "current":
                output["tool_mask"] = self._mask_of_current_segments(output["completion_mask"])
            output = fill_up(output, len(inputs))
        for refill in range(1, self.args.max_refills + 1):
            dead = self._dead_local_groups(output)
            most = int(gather(torch.tensor([len(dead)], device=self.accelerator.device)).max())
            if most == 0:
                break
            self._refill = refill
            try:
                spare = super()._generate_and_score_completions(inputs[: most * self.num_generations])
            except ServerLost as lost:
                # The batch is whole without it. The next iteration saves, and ends the training.
                warnings.warn(f"{lost}; dead groups of this iteration stay.", stacklevel=2)
                break
            finally:
                self._refill = 0
            output = replace_groups(output, spare, dead, self.num_generations, self._tokenizer.pad_token_id)
        # Rows that only fill the batch are no groups; a batch is either filled or refilled.
        self._log_groups(dead_before, self._dead_groups(output) if self.args.max_refills > 0 else dead_before)
        return output

    def _reset_optimizer(self) -> None:
        self.optimizer.state.clear()

    def _end_of_training(self, lost: ServerLost) -> Exception:
        """Save a checkpoint, if there is a training to go on with, and return the error that ends it."""
        if not self.is_in_train:
            return lost
        assert self.rollouts is not None
        self._save_checkpoint(self.model, trial=None)
        return TrainingStopped(
            f"{lost}; the training, with {len(self.rollouts.buffer.unfinished())} unfinished rollouts, was saved "
            f"to {self.args.output_dir}/checkpoint-{self.state.global_step}: start the server and resume."
        )

    def _draw_rows(self, num_local_rows: int) -> list[dict[str, Any]]:
        if self.rollouts is None:
            return super()._draw_rows(num_local_rows)
        number = num_local_rows * self.accelerator.num_processes // self.num_generations
        self._taken = self.rollouts.collect(number, refill=self._refill > 0)
        return self._rows_of([group.problem for group in self._taken])

    def _generate_single_turn(
        self, prompt_ids: list, images: Any, multimodal_fields: dict, *args: Any, **kwargs: Any
    ) -> Any:
        if self.rollouts is not None and not self.model.training:
            return generate_whole(self, prompt_ids, images, multimodal_fields, *args, **kwargs)
        if self.rollouts is None:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, *args, **kwargs)
        local = self._taken_trajectories()[self._local_share(len(self._taken) * self.num_generations)]
        return [each.ids_T.tolist() for each in local], [each.logps_T.tolist() for each in local]

    def _taken_trajectories(self) -> list[Trajectory]:
        return [trajectory for group in self._taken for trajectory in group.trajectories]

    def _mask_of_current_segments(self, completion_mask_BT: Tensor) -> Tensor:
        local = self._taken_trajectories()[self._local_share(len(self._taken) * self.num_generations)]
        return mask_of_last_tokens(completion_mask_BT, [each.tokens_of(self.iteration) for each in local])

    def _columns_of_rollouts(self) -> dict[str, list[Any]]:
        scored = self._scored
        stops = [
            "repetition" if repeats else "length" if truncated else "eos"
            for repeats, truncated in zip(self._repeats_N.tolist(), scored.truncated_N.tolist(), strict=True)
        ]
        if self.rollouts is None:
            segments = [[(self.iteration, tokens)] for tokens in scored.lengths_N.tolist()]
        else:
            segments = [each.segments for each in self._taken_trajectories()]
        return {"stop": stops, "segments": segments}

    def _state_dict(self) -> dict[str, Any]:
        rollouts = None if self.rollouts is None else self.rollouts.state_dict()
        return {**super()._state_dict(), "partial_rollouts": rollouts}

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        super()._load_state_dict(state)
        saved = state["partial_rollouts"]  # None without any of the options then
        if self.rollouts is not None and saved is not None:
            self.rollouts.load_state_dict(saved)
        elif saved is not None and saved["buffer"]["problems"]:
            raise ValueError(
                f"the checkpoint holds {len(saved['buffer']['problems'])} groups of rollouts that are not trained on "
                "yet, and the training has no option for them; set rollout_budget_tokens, rollout_pause_share or "
                "repetition_max_period."
            )

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Train as `SampledGRPOTrainer.train`; the rollouts of a training before this one are not gone on with.

        Args:
            resume_from_checkpoint: As `SampledGRPOTrainer.train`.
            **kwargs: The same.
        """
        self.rollouts = self._build_rollouts()
        return super().train(resume_from_checkpoint, **kwargs)

    def _dead_groups(self, output: dict[str, Any]) -> Tensor:
        """Tell of each group of all processes whether it is dead, 0 or 1."""
        advantages_GK = gather(output["advantages"]).view(-1, self.num_generations)
        return (advantages_GK == 0).all(dim=1).float()

    def _dead_local_groups(self, output: dict[str, Any]) -> list[int]:
        advantages_GK = output["advantages"].view(-1, self.num_generations)
        return (advantages_GK == 0).all(dim=1).nonzero().flatten().tolist()

    def _calculate_rewards(
        self, inputs: list, prompts: list, completions: list, completion_ids_list: list[list[int]]
    ) -> Tensor:
        rewards_NF = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        args, scored, training = self.args, self._scored, self.model.training
        self._repeats_N = self._gather_repeats(completion_ids_list)
        if args.length_penalty_weight > 0:
            column = self._column("length_reward")
            if training and length_penalty_is_on(self.iteration, args.length_penalty_warmup_iterations):
                correct_N = scored.correct_N & scored.scorable_N
                rewards_NF[:, column] = length_reward(scored.lengths_N, correct_N, self.num_generations)
            rewards_NF[~scored.scorable_N, column] = torch.nan
        if args.repetition_penalty_weight > 0:
            column = self._column("repetition_penalty")
            rewards_NF[:, column] = -self._repeats_N.to(rewards_NF.dtype)
            rewards_NF[~scored.scorable_N, column] = torch.nan
        return rewards_NF

    def _gather_repeats(self, completion_ids_list: list[list[int]]) -> Tensor:
        """Tell of the responses of all processes which ones repeat themselves at their end; none without a rule."""
        rule, ends = self.repetition, self.eos_token_ids
        local = [
            rule is not None and ids[-1] not in ends and repeated_period(ids, rule) is not None
            for ids in completion_ids_list
        ]
        repeats_N = gather(torch.tensor(local, device=self.accelerator.device))
        if rule is not None:
            mode = "train" if self.model.training else "eval"
            self._metrics[mode]["k15/repetitions"].append(repeats_N.float().mean().item())
        return repeats_N

    def _set_advantages(self, output: dict[str, Any]) -> None:
        """Put r - tau log Z in place of TRL's advantages, and which rollouts stay in the loss beside it."""
        args, k = self.args, self.num_generations
        rewards_NF = self._scored.rewards_NF
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
            advantages_N[_is_in_group_of_equals(rewards_N, k)] = 0.0
            generator = torch.Generator().manual_seed((args.seed << 32) + (self.iteration << 8) + self._refill)
            keep_N = keep_after_drop(advantages_N, args.drop_negative_probability, generator) * scorable_N
        self._scored.advantages_N = advantages_N
        table: Any = self._logs["advantages"]  # TRL's table of completions ends with these rollouts
        for row in range(-len(advantages_N), 0):
            table[row] = advantages_N[row].item()

        local = len(output["advantages"])
        mine = slice(self.accelerator.process_index * local, (self.accelerator.process_index + 1) * local)
        output["advantages"] = advantages_N[mine]
        output["keep"] = keep_N[mine]
        self._log_rollouts(baseline_N)
        if args.importance_weight_cap is not None and "sampling_per_token_logps" not in output:
            raise ValueError(
                f"importance_weight_cap={args.importance_weight_cap} needs the sampler's log-probabilities, but "
                "rollout_func gave logprobs=None; return them, or leave importance_weight_cap out."
            )
        if "sampling_per_token_logps" in output and "old_per_token_logps" in output:
            self._log_sampler_gap(output)

    def _log_rollouts(self, baseline_N: Tensor) -> None:
        """Note each value by itself: TRL's mean is then one over all rollouts of an iteration, the spare ones too."""
        scorable_GK = self._scored.scorable_N.view(-1, self.num_generations)
        right_GK = self._scored.correct_N.view(-1, self.num_generations)
        is_known_G = scorable_GK.any(dim=1)
        accuracies = (right_GK.sum(dim=1) / scorable_GK.sum(dim=1))[is_known_G].tolist()
        self._group_accuracies += accuracies
        metrics = self._metrics["train"]
        metrics["k15/baseline"] += baseline_N.tolist()
        metrics["k15/groups_all_right"] += [float(accuracy == 1) for accuracy in accuracies]
        metrics["k15/groups_all_wrong"] += [float(accuracy == 0) for accuracy in accuracies]

    def _log_groups(self, dead_before_G: Tensor, dead_G: Tensor) -> None:
        metrics = self._metrics["train"]
        metrics["k15/group_accuracy_std"].append(pstdev(self._group_accuracies or [0.0]))
        metrics["k15/dead_groups"].append(dead_G.mean().item())
        if self.args.max_refills > 0:
            metrics["k15/refilled_groups"].append((dead_before_G.sum() - dead_G.sum()).item())

    def _log_sampler_gap(self, output: dict[str, Any]) -> None:
        gap_BT, known_BT = sampler_gap(output, _loss_mask(output))
        # Older segments differ because the policy has moved on; only the current one tells of the engine.
        current_BT = known_BT
        if self.rollouts is not None:
            current_BT = known_BT & self._mask_of_current_segments(output["completion_mask"]).bool()
            self._log_mean("k15/old_segments_logp_gap_mean", gap_BT[known_BT & ~current_BT])
        gaps = gap_BT[current_BT]
        largest = gaps.max() if gaps.numel() else gaps.sum()
        metrics = self._metrics["train"]
        metrics["k15/sampler_logp_gap_max"].append(gather(largest).max().item())
        self._log_mean("k15/sampler_logp_gap_mean", gaps)
        warn_of_sampler_gap(metrics["k15/sampler_logp_gap_mean"][-1], self.args.sampler_gap_bound)

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
            ("sampler_logps", "sampling_per_token_logps"),
            ("start_logps", "ref_per_token_logps"),
        ):
            if inputs.get(key) is not None:
                columns[name] = inputs[key]
        return columns

    def _log_loss(self, figures: dict[str, Tensor], columns: dict[str, Tensor]) -> None:
        """Log figures of rows: of those in the loss, and of tokens in the loss."""
        keep_B = (columns["weight"] > 0).to(figures["policy"].dtype)
        policy, penalty = ((figures[name] * keep_B).abs().sum() for name in ("policy", "penalty"))
        sums = gather(torch.stack([policy, penalty]).unsqueeze(0)).sum(dim=0)
        rho_N = gather(figures["rho"])[gather(keep_B) > 0]
        metrics = self._metrics["train" if self.model.training else "eval"]
        # The first update has rho = 0 but for rounding, of which there is no share.
        metrics["k15/penalty_share"].append((sums[1] / sums.sum().clamp(min=1e-8)).item())
        if rho_N.numel() > 0:
            metrics["k15/rho_mean"].append(rho_N.mean().item())
            metrics["k15/rho_std"].append(rho_N.std(correction=0).item())
            metrics["k15/rho_abs_mean"].append(rho_N.abs().mean().item())
            metrics["k15/rho_abs_max"].append(rho_N.abs().max().item())
            is_first = self._step % self.micro_steps_per_iteration < self.args.gradient_accumulation_steps
            if self.model.training and is_first and "ref_logps" in columns:
                self._log_first_rho(metrics["k15/rho_abs_max"][-1])
        # As TRL: means over the tokens in the loss.
        for name in sorted({"kl", "entropy"} & figures.keys()):  # in the same order on all ranks
            totals = gather(torch.stack([figures[name].sum(), columns["mask"].sum()]).unsqueeze(0)).sum(dim=0)
            metrics[name].append((totals[0] / totals[1].clamp(min=1)).item())

    def _log_first_rho(self, largest: float) -> None:
        self._metrics["train"]["k15/first_update_rho_abs_max"].append(largest)
        bound = self.args.first_update_rho_bound
        if largest > bound and not self._has_warned_of_first_rho and self.accelerator.is_main_process:
            self._has_warned_of_first_rho = True
            warn_of_first_rho(largest, bound)

    def _log_mean(self, name: str, values: Tensor) -> None:
        totals = gather(torch.stack([values.sum(), values.new_tensor(values.numel())]).unsqueeze(0)).sum(dim=0)
        self._metrics["train" if self.model.training else "eval"][name].append(
            (totals[0] / totals[1].clamp(min=1)).item()
        )


def _loss_mask(batch: dict[str, Any]) -> Tensor:
    mask_BT = batch["completion_mask"]
    return mask_BT * batch["tool_mask"] if "tool_mask" in batch else mask_BT


def _is_in_group_of_equals(rewards_N: Tensor, num_generations: int) -> Tensor:
    rewards_GK = rewards_N.view(-1, num_generations)
    lowest_G1 = rewards_GK.nan_to_num(nan=torch.inf).min(dim=1, keepdim=True).values
    highest_G1 = rewards_GK.nan_to_num(nan=-torch.inf).max(dim=1, keepdim=True).values
    return (lowest_G1 >= highest_G1).expand_as(rewards_GK).reshape(-1)


def _comes_after_the_gather(prompts: list, **_: Any) -> list[float]:
    return [0.0] * len(prompts)
