"""Kimi k1.5's reinforcement learning as a trainer: `GRPOTrainer` with the mirror-descent objective (paper 2.3)."""

from statistics import pstdev
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor

from k15_plugins.length_penalty import length_penalty_is_on, length_reward
from k15_plugins.objective import (
    baseline,
    keep_after_drop,
    mirror_descent_loss,
    rest_advantages,
    truncated_importance_weights,
)
from k15_plugins.trainers.config import MirrorDescentConfig
from k15_plugins.trainers.iteration_warmup import IterationWarmup
from k15_plugins.trainers.refill import replace_groups
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


class MirrorDescentTrainer(SampledGRPOTrainer):
    """Online mirror descent with an in-group length penalty (https://huggingface.co/papers/2501.12599, 2.3.2-2.3.4).

    Used like `GRPOTrainer`. The reference policy is the policy that sampled the iteration's rollouts: its
    log-probabilities are TRL's `old_per_token_logps`, so there is no second model. `beta` adds TRL's drift control
    towards the starting policy.

    Args:
        model: as `GRPOTrainer`.
        reward_funcs: as `GRPOTrainer`.
        args: a `MirrorDescentConfig`. Defaults to `MirrorDescentConfig()`.
        **kwargs: as `GRPOTrainer`, and `sampler`, `final_reward`, `final_reward_threshold` of `SampledGRPOTrainer`.

    Raises:
        ValueError: if `args` is another trainer's config, DeepSpeed is to have its optimizer reset, dead groups of a
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
        super().__init__(model, reward_funcs, args, **kwargs)
        self._group_accuracies: list[float] = []
        if self.args.disable_dropout:
            _silence_dropout_attributes(self.model)
        if self.args.length_penalty_weight > 0:
            self._add_length_reward()
        if self.args.lr_warmup_updates > 0:
            self.add_callback(IterationWarmup(self))
        if self.args.importance_weight_cap is not None and not self.args.use_vllm and self.rollout_func is None:
            raise ValueError(
                f"importance_weight_cap={self.args.importance_weight_cap} needs the sampler's log-probabilities, "
                "which transformers generation does not give; set use_vllm=True, give a rollout_func, or leave it out."
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

    def _add_length_reward(self) -> None:
        """Take the length reward in as one more column of rewards, so that TRL weighs and logs it like the others."""
        self.reward_funcs = [*self.reward_funcs, _length_reward_comes_after_the_gather]
        self.reward_func_names = [*self.reward_func_names, "length_reward"]
        self.reward_processing_classes = [*self.reward_processing_classes, None]
        weight = torch.tensor([self.args.length_penalty_weight], dtype=self.reward_weights.dtype)
        self.reward_weights = torch.cat([self.reward_weights, weight.to(self.reward_weights.device)])

    def _generate_and_score_completions(self, inputs: list) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        if self.args.reset_optimizer:
            self.optimizer.state.clear()
        self._group_accuracies = []
        output = super()._generate_and_score_completions(inputs)
        dead_before = self._dead_groups(output)
        for refill in range(1, self.args.max_refills + 1):
            dead = self._dead_local_groups(output)
            most = int(gather(torch.tensor([len(dead)], device=self.accelerator.device)).max())
            if most == 0:
                break
            self._refill = refill
            spare = super()._generate_and_score_completions(inputs[: most * self.num_generations])
            self._refill = 0
            output = replace_groups(output, spare, dead, self.num_generations, self._tokenizer.pad_token_id)
        self._log_groups(dead_before, self._dead_groups(output))
        return output

    def _dead_groups(self, output: dict[str, Any]) -> Tensor:
        """Tell of each group of all processes whether it is dead, 0 or 1."""
        advantages_GK = gather(output["advantages"]).view(-1, self.num_generations)
        return (advantages_GK == 0).all(dim=1).float()

    def _dead_local_groups(self, output: dict[str, Any]) -> list[int]:
        advantages_GK = output["advantages"].view(-1, self.num_generations)
        return (advantages_GK == 0).all(dim=1).nonzero().flatten().tolist()

    def _calculate_rewards(self, *args: Any) -> Tensor:
        rewards_NF = super()._calculate_rewards(*args)
        if self.args.length_penalty_weight > 0:
            scored = self._scored
            is_on = length_penalty_is_on(self.iteration, self.args.length_penalty_warmup_iterations)
            if is_on and self.model.training:
                correct_N = scored.correct_N & scored.scorable_N
                rewards_NF[:, -1] = length_reward(scored.lengths_N, correct_N, self.num_generations)
            rewards_NF[~scored.scorable_N, -1] = torch.nan
        return rewards_NF

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
            advantages_N = (rewards_N - baseline_N).nan_to_num(nan=0.0)
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
        accuracies = self._scored.correct_N.float().view(-1, self.num_generations).mean(dim=1).tolist()
        self._group_accuracies += accuracies
        metrics = self._metrics["train"]
        metrics["k15/baseline"] += baseline_N.tolist()
        metrics["k15/groups_all_right"] += [float(accuracy == 1) for accuracy in accuracies]
        metrics["k15/groups_all_wrong"] += [float(accuracy == 0) for accuracy in accuracies]

    def _log_groups(self, dead_before_G: Tensor, dead_G: Tensor) -> None:
        metrics = self._metrics["train"]
        metrics["k15/group_accuracy_std"].append(pstdev(self._group_accuracies))
        metrics["k15/dead_groups"].append(dead_G.mean().item())
        if self.args.max_refills > 0:
            metrics["k15/refilled_groups"].append((dead_before_G.sum() - dead_G.sum()).item())

    def _log_sampler_gap(self, output: dict[str, Any]) -> None:
        gap_BT = (output["old_per_token_logps"] - output["sampling_per_token_logps"]).abs()
        gap_BT = gap_BT[_loss_mask(output).bool() & ~gap_BT.isnan()]
        largest = gap_BT.max() if gap_BT.numel() else gap_BT.sum()
        self._metrics["train"]["k15/sampler_logp_gap_max"].append(gather(largest).max().item())

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        args = self.args
        completion_ids, mask_BT = inputs["completion_ids"], _loss_mask(inputs)
        logps_BT, entropies_BT, aux_loss = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], completion_ids], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            completion_ids.size(1),
            compute_entropy=True,
            compute_aux_loss=self.aux_loss_enabled,
            **{key: inputs.get(key) for key in _FORWARD_KEYS},
        )
        # TRL leaves them out where one update spans the whole iteration: then pi_theta is pi_ref itself.
        ref_logps_BT = inputs.get("old_per_token_logps", logps_BT.detach())
        weights_BT = None
        if args.importance_weight_cap is not None:
            weights_BT = truncated_importance_weights(
                ref_logps_BT, inputs["sampling_per_token_logps"], mask_BT, args.importance_weight_cap
            )
        parts = mirror_descent_loss(
            logps_BT,
            ref_logps_BT,
            mask_BT,
            inputs["advantages"],
            0.0 if args.positives_only else args.tau,
            penalty_level=args.penalty_level,
            length_normalization=args.length_normalization,
            max_length_tokens=self.max_completion_length,
            log_ratio_interval=args.log_ratio_interval,
            importance_weights_BT=weights_BT,
        )
        keep_B = inputs.get("keep", torch.ones_like(parts.rho_B))
        loss = (parts.loss_B * keep_B).mean()
        if self.beta != 0.0:
            drift_BT = inputs["ref_per_token_logps"] - logps_BT
            kl_B = ((drift_BT.exp() - drift_BT - 1) * mask_BT).sum(dim=1)
            loss = loss + self.beta * (kl_B * keep_B).mean()
            self._log_mean("kl", kl_B.detach())
        if aux_loss is not None:
            loss = loss + self.router_aux_loss_coef * aux_loss
        self._log_loss(parts, keep_B)
        self._log_mean("entropy", entropies_BT[mask_BT.bool()].detach())
        # TRL declares that its losses are already scaled for gradient accumulation.
        return loss / self.current_gradient_accumulation_steps if self.model.training else loss

    def _log_loss(self, parts: Any, keep_B: Tensor) -> None:
        policy, penalty = ((part.detach() * keep_B).abs() for part in (parts.policy_B, parts.penalty_B))
        sums = gather(torch.stack([policy.sum(), penalty.sum()]).unsqueeze(0)).sum(dim=0)
        rho_N = gather(parts.rho_B)[gather(keep_B) > 0]
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["k15/penalty_share"].append((sums[1] / sums.sum().clamp(min=1e-12)).item())
        if rho_N.numel() > 0:
            metrics["k15/rho_mean"].append(rho_N.mean().item())
            metrics["k15/rho_std"].append(rho_N.std(correction=0).item())
            metrics["k15/rho_abs_mean"].append(rho_N.abs().mean().item())
            metrics["k15/rho_abs_max"].append(rho_N.abs().max().item())

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


def _silence_dropout_attributes(model: torch.nn.Module) -> None:
    """Set dropout rates that are plain attributes, as the attention of Llama and Qwen has them, to 0.

    TRL's `disable_dropout` reaches only `nn.Dropout` modules.
    """
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if name.endswith(("dropout", "pdrop", "layerdrop")) and isinstance(value, float):
                setattr(module, name, 0.0)


def _length_reward_comes_after_the_gather(prompts: list, **_: Any) -> list[float]:
    return [0.0] * len(prompts)
