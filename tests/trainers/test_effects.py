"""An option acts, or it is refused with the cure."""

import re

import pytest
import tiny
from trl import GRPOConfig

from k15_plugins import MirrorDescentConfig, SampledGRPOTrainer

IDLE = [
    ({"vllm_importance_sampling_correction": True}, "on MirrorDescentTrainer's loss, .* importance_weight_cap; set"),
    ({"vllm_importance_sampling_mode": "token_mask"}, "importance_weight_cap"),
    ({"vllm_importance_sampling_clip_max": 2.0}, "importance_weight_cap"),
    ({"vllm_importance_sampling_clip_min": 0.1}, "importance_weight_cap"),
    ({"vllm_importance_sampling_cap": 2.0}, "importance_weight_cap"),
    ({"label_smoothing_factor": 0.1}, "on a loss of rewards"),
    ({"tau": 0.3, "positives_only": True}, "with positives_only=True"),
    ({"baseline": "log_mean_exp", "positives_only": True}, "with positives_only=True"),
    ({"baseline_leave_one_out": True, "positives_only": True}, "with positives_only=True"),
    ({"penalty_level": "token", "positives_only": True}, "with positives_only=True"),
    ({"drop_negative_probability": 0.5, "positives_only": True}, "with positives_only=True"),
    ({"penalty_level": "token", "tau": 0.0}, "with tau=0"),
    ({"tau": 0.3, "updates_per_iteration": 1}, "with updates_per_iteration=1"),
    ({"penalty_level": "token", "updates_per_iteration": 1}, "with updates_per_iteration=1"),
    ({"log_ratio_interval": [-0.1, 0.1], "updates_per_iteration": 1}, "with updates_per_iteration=1"),
    ({"lr_warmup_updates": 1}, "on the first update"),
    ({"length_penalty_warmup_iterations": 3}, "without the length reward; set length_penalty_weight above 0"),
    ({"dual_lambda_low": 0.1}, "without a process reward; set process_reward"),
    ({"dual_lambda_high": 0.9}, "without a process reward; set process_reward"),
    ({"dual_ordered": True}, "without a process reward; set process_reward"),
    ({"repetition_min_period": 2}, "without a rule for repetitions; set repetition_max_period"),
    ({"repetition_penalty_weight": 1.0}, "without a rule for repetitions; set repetition_max_period"),
    ({"rollout_pool_groups": 8}, "without partial rollouts; set rollout_budget_tokens"),
    ({"max_rollout_segments": 2}, "without partial rollouts; set rollout_budget_tokens"),
    ({"segments_in_loss": "current"}, "without partial rollouts; set rollout_budget_tokens"),
    ({"rollout_budget_tokens": 4, "max_rollout_segments": 1}, "with max_rollout_segments=1"),
    ({"rollout_pause_share": 0.5, "max_rollout_segments": 1}, "with max_rollout_segments=1"),
    ({"rollout_budget_tokens": 8}, "with max_completion_length=8, which no response exceeds"),
    ({"server_patience_seconds": 5.0}, "without a server; set use_vllm=True and vllm_mode='server'"),
    ({"vllm_mode": "server"}, "without vLLM; set use_vllm=True"),
    ({"vllm_server_port": 9}, "without vLLM; set use_vllm=True"),
    ({"vllm_enable_sleep_mode": True}, "without vLLM; set use_vllm=True"),
    ({"vllm_server_port": 9, "use_vllm": True, "vllm_mode": "colocate"}, "without a server; set vllm_mode='server'"),
    ({"sync_ref_model": True}, "without a second model; set beta above 0"),
    ({"ref_model_mixup_alpha": 0.5, "beta": 0.1}, "without sync_ref_model; set sync_ref_model=True"),
    ({"ref_model_sync_steps": 4, "beta": 0.1}, "without sync_ref_model; set sync_ref_model=True"),
]


@pytest.mark.parametrize(("changes", "reason"), IDLE)
def test_an_option_without_effect_is_refused(tmp_path, changes, reason):
    name, value = next(iter(changes.items()))
    with pytest.raises(
        ValueError, match=f"{re.escape(f'{name}={value!r} has no effect')} .*{reason}.*, or leave {name} at"
    ):
        MirrorDescentConfig(**tiny.arguments(tmp_path, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"tau": 0.3, "updates_per_iteration": 1, "baseline": "log_mean_exp"},
        {"log_ratio_interval": [-0.1, 0.1], "positives_only": True},
        {"lr_warmup_updates": 2},
        {"length_penalty_warmup_iterations": 3, "length_penalty_weight": 0.5},
        {"dual_lambda_low": 0.5, "dual_lambda_high": 0.5, "dual_ordered": True, "process_reward": "steps"},
        {"repetition_min_count": 4, "repetition_max_period": 3},
        {"rollout_budget_tokens": 7, "max_rollout_segments": 2, "segments_in_loss": "current"},
        {"server_patience_seconds": 5.0, "use_vllm": True, "vllm_mode": "server"},
        {"sync_ref_model": True, "ref_model_sync_steps": 4, "beta": 0.1},
        {"max_steps": -1, "num_train_epochs": 0.5},
    ],
)
def test_an_option_that_acts_is_taken(tmp_path, changes):
    MirrorDescentConfig(**tiny.arguments(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"max_steps": 0},
            "max_steps must be 1 or more updates (-1: as num_train_epochs says), got 0; the default is -1",
        ),
        ({"max_steps": "5"}, "max_steps must be a whole number, got '5'"),
        ({"max_steps": -1, "num_train_epochs": 0}, "num_train_epochs must be above 0, got 0"),
        ({"neftune_noise_alpha": 5.0}, "neftune_noise_alpha=5.0 adds noise to every forward pass"),
        ({"repetition_max_period": 3, "repetition_min_count": 0}, "repetition_min_count must be 2 or more, got 0"),
    ],
)
def test_a_training_of_nothing_and_noise_are_refused(tmp_path, changes, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        MirrorDescentConfig(**tiny.arguments(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data_seed": 3}, "data_seed=3 has no effect on a sampler; set seed"),
        ({"remove_unused_columns": True}, "remove_unused_columns=True has no effect, for a sampler gives rows whole"),
        ({"train_sampling_strategy": "group_by_length"}, "has no effect, for a sampler chooses the rows"),
    ],
)
def test_what_a_sampler_leaves_without_effect_is_refused_before_a_model_is_loaded(tmp_path, changes, sentence):
    no_model = str(tmp_path / "no_model")
    with pytest.raises(ValueError, match=sentence):
        tiny.trainer(tmp_path, model=no_model, **changes)
    arguments = tiny.arguments(tmp_path, **changes)
    del arguments["updates_per_iteration"]
    with pytest.raises(ValueError, match=sentence):
        SampledGRPOTrainer(no_model, [tiny.odd_start], GRPOConfig(**arguments), train_dataset=tiny.problems())


@pytest.mark.parametrize(
    "changes",
    [{"max_steps": 0}, {"max_steps": -5}, {"max_steps": -1, "num_train_epochs": 0}, {"save_steps": 1.5}],
)
def test_trls_own_arguments_are_refused_too_if_they_train_nothing(tmp_path, changes):
    arguments = tiny.arguments(tmp_path, **changes)
    del arguments["updates_per_iteration"]
    with pytest.raises(ValueError, match=f"{list(changes)[-1]} must be "):
        SampledGRPOTrainer(
            str(tmp_path / "no_model"), [tiny.odd_start], GRPOConfig(**arguments), train_dataset=tiny.problems()
        )


def test_a_bound_for_the_gap_to_the_engine_needs_its_log_probabilities(tmp_path):
    with pytest.raises(ValueError, match=r"rollout_gap_bound=0.5 has no effect, .* set use_vllm=True"):
        tiny.trainer(tmp_path, rollout_gap_bound=0.5)
    tiny.trainer(tmp_path, rollout_gap_bound=0.5, rollout_budget_tokens=4)
