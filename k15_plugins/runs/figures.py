"""Names of the figures that a stage of this package writes, so that a misspelt `metric` is told before the run."""

import re
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from k15_plugins.runs.rewards import build_rewards

_OWN = "k15_plugins."
_STAGES = "k15_plugins.stages."
_RUN = "step iteration seconds epoch loss grad_norm learning_rate num_tokens entropy aux_loss"
_END = "train_runtime train_samples_per_second train_steps_per_second train_tokens_per_second train_loss total_flos"
_EVAL_END = "loss runtime samples_per_second steps_per_second"
_ROLLOUTS = """
reward reward_std frac_reward_zero_std step_time policy_loss kl entropy_coef cispo_clip_ratio vespo/phi_seq_mean
completions/{mean,min,max}_length completions/clipped_ratio completions/{mean,min,max}_terminated_length
tools/{call,failure}_frequency sampling/sampling_logp_difference/{mean,max}
sampling/importance_sampling_ratio/{min,mean,max} clip_ratio/{low,high,region}_mean clip_ratio/low_min
clip_ratio/high_max
k15/accuracy k15/dead_groups k15/group_accuracy_std k15/no_program k15/non_finite_rewards
k15/skipped_updates k15/verifier_failures k15/judge_failures k15/judged k15/unreadable_verdicts
sampler/success_rate sampler/share_{seen,solved} sampler/drawn_{success_rate,level,unsolved}
"""
_MIRROR_DESCENT = """
k15/lambda k15/process_{score,score_of_wrong,missing}
k15/baseline k15/groups_all_{right,wrong} k15/penalty_share k15/rho_{mean,std,abs_mean,abs_max} k15/repetitions
k15/first_update_rho_abs_max k15/refilled_groups k15/rollout_logp_gap_{mean,max} k15/old_segments_logp_gap_mean
rollouts/{waiting,open}_groups rollouts/{unfinished_trajectories,buffered_tokens,batch_fill,rounds}
"""
_PAIRS = """
logits/{chosen,rejected} logps/{chosen,rejected} rewards/{chosen,rejected,accuracies,margins} mean_token_accuracy
k15/length_gap k15/{wrong,long}_share eval_k15/accuracy eval_completions/mean_length
"""
_MEASURED = "step iteration accuracy tokens truncated"
_OF_CODEFORCES = " rating percentile"
_JUDGED = "held_out_accuracy held_out_accuracy_{right,wrong,openers}"
_OF_STAGES = {
    "long2short.rejection": f"{_RUN} {_END} mean_token_accuracy",
    "sft.sft": f"{_RUN} {_END} mean_token_accuracy",
    "long2short.dpo": f"{_RUN} {_END} {_PAIRS}",
    "reward_model.reward_model": f"{_RUN} {_END} {_JUDGED} threshold train_accuracy held_out_ordered accuracy margin "
    "{min,mean,max}_reward",
    "cot_reward_model.cot_reward_model": f"{_RUN} {_END} {_JUDGED} held_out_unreadable mean_token_accuracy",
    "evaluate.evaluate_models": _MEASURED,
    "select_checkpoint.select_checkpoint": _MEASURED,
    "merge.merge": _MEASURED,
    "write_tests.write_tests": "step iteration problems kept dropped",
    "pretrain.pretrain": f"{_RUN} {_END} mean_token_accuracy held_out_loss",
    "curate.curate": "step iteration problems kept dropped pass_rate",
    "warm_start.warm_start": "step iteration accuracy mean_tokens truncated_share wrong_step_share check_share "
    "right_check_share",
}
"""Figures of the stages without rollouts of their own."""


def check_metric(config: dict[str, Any]) -> None:
    """Refuse a figure that the run will not write; whatever a stage, trainer or reward of a user's writes passes.

    Args:
        config: The resolved config.

    Raises:
        ValueError: Naming the figure and the nearest one.
    """
    name: str = config.get("metric") or ""
    known = known_figures(config) if name else None
    if known is None or name in known:
        return
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    cure = f"did you mean {near[0]}?" if near else f"take one of {', '.join(_summary(known))} ..."
    raise ValueError(f"metric must be a figure that the run writes, got {name}; {cure}")


def known_figures(config: dict[str, Any]) -> list[str] | None:
    """Return the names of the figures that a run can write, or None if they are not all known.

    Args:
        config: The resolved config.
    """
    stage = config["stage"]["_target_"].removeprefix(_STAGES)
    if stage in _OF_STAGES:
        return _names(_OF_STAGES[stage] + (_OF_CODEFORCES if config["stage"].get("standings") else ""))
    nodes = (
        [config["trainer"], config["sampler"], *config["reward"].values()] if stage == "reinforce.reinforce" else []
    )
    # Reward functions log what they like, by TRL's log_metric.
    if not nodes or not all(str(node.get("_target_")).startswith(_OWN) for node in nodes):
        return None
    own = _MIRROR_DESCENT if config["trainer"]["_target_"].endswith("MirrorDescentTrainer") else ""
    rollouts = [*_names(_ROLLOUTS + own), "entropy", "aux_loss", "num_tokens", *_rewards_of(config)]
    return [*_names(_RUN), *_names(_END), *rollouts, *(f"eval_{each}" for each in [*rollouts, *_names(_EVAL_END)])]


def _rewards_of(config: dict[str, Any]) -> Iterator[str]:
    if "rewards/" not in config["metric"]:
        return
    functions = []
    with suppress(Exception):  # told where the reward is built
        functions = build_rewards(config["reward"])
    added = ("length_reward", "repetition_penalty", "dual_reward")
    for name in (*(getattr(each, "__name__", type(each).__name__) for each in functions), *added):
        yield from (f"rewards/{name}/mean", f"rewards/{name}/std")


def _names(text: str) -> list[str]:
    """Read names of which some stand together, as `a/{b,c}`."""
    names = []
    for word in text.split():
        match = re.search(r"{(.*)}", word)
        names += [word.replace(match[0], each) for each in match[1].split(",")] if match else [word]
    return names


def _summary(known: list[str]) -> list[str]:
    most_asked = (
        "eval_k15/accuracy",
        "k15/accuracy",
        "reward",
        "completions/mean_length",
        "accuracy",
        "tokens",
        "loss",
    )
    return [name for name in most_asked if name in known]
