"""Everything of TRL that the trainers rely on, in one place. If this fails, TRL has moved: the message says what."""

import inspect

import pytest
import tiny
import torch
from trl import GRPOConfig, GRPOTrainer

from k15_plugins.trainers.config import _FOREIGN_OPTIONS

SIGNATURES = {
    "_generate_and_score_completions": ["self", "inputs"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_generate": ["self", "prompts"],
    "_generate_single_turn": [
        "self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images",
    ],
    "_tokenize_prompts": ["self", "prompts"],
    "log": ["self", "logs", "start_time"],
    "_run_epoch": [
        "self", "model", "epoch", "train_dataloader", "steps_in_epoch", "num_update_steps_per_epoch", "trial",
        "ignore_keys_for_eval", "start_time", "resume_from_checkpoint", "epochs_trained",
        "steps_trained_in_current_epoch",
    ],
    "_compute_loss": ["self", "model", "inputs"],
    "_get_train_sampler": ["self", "dataset"],
    "_get_dataloader": ["self", "dataset", "description", "batch_size", "sampler_fn", "is_training", "dataloader_key"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
    "_get_output_dir": ["self", "trial"],
    "get_train_dataloader": ["self"],
}  # fmt: skip
LOGPS_ARGUMENTS = [
    "self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy",
    "compute_aux_loss", "pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "spatial_shapes",
    "num_tiles", "image_sizes", "token_type_ids", "mm_token_type_ids", "image_position_ids",
]  # fmt: skip
ATTRIBUTES = [
    "_step", "_buffered_inputs", "_metrics", "_logs", "_tokenizer", "_train_batch_size", "_is_vlm", "eos_token_ids",
    "reward_funcs", "reward_func_names", "reward_processing_classes", "reward_weights", "num_generations",
    "num_iterations", "max_completion_length", "beta", "aux_loss_enabled", "is_deepspeed_enabled", "accelerator",
    "train_dataset", "current_gradient_accumulation_steps", "shuffle_dataset", "router_aux_loss_coef",
    "generation_config", "rollout_func", "num_generations_eval", "_tr_loss", "_total_loss_scalar",
    "_globalstep_last_logged", "is_fsdp_enabled",
]  # fmt: skip
CONFIG_FIELDS = [
    "steps_per_generation", "generation_batch_size", "num_iterations", "num_generations", "scale_rewards", "beta",
    "disable_dropout", "use_vllm", "max_completion_length", "reward_weights", "num_generations_eval",
    "shuffle_dataset", *_FOREIGN_OPTIONS,
]  # fmt: skip
# In a batch where there is a cause: tools or an environment, a sampler's log-probabilities, drift control by beta.
OPTIONAL = {"tool_mask": 2, "sampling_per_token_logps": 2, "ref_per_token_logps": 2}
BATCH = {
    "prompt_ids": 2, "prompt_mask": 2, "completion_ids": 2, "completion_mask": 2, "advantages": 1,
    "num_items_in_batch": 0, "old_per_token_logps": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    found = list(inspect.signature(getattr(GRPOTrainer, name)).parameters)
    assert found == SIGNATURES[name], (
        f"TRL moved: GRPOTrainer.{name} takes {found}, the trainers expect {SIGNATURES[name]}"
    )


def test_log_probability_function():
    found = list(inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters)
    assert found == LOGPS_ARGUMENTS, f"TRL moved: _get_per_token_logps_and_entropies takes {found}"


def test_config_fields():
    found = {each.name for each in GRPOConfig.__dataclass_fields__.values()}
    missing = [name for name in CONFIG_FIELDS if name not in found]
    assert not missing, f"TRL moved: GRPOConfig lost {missing}"


class Probe(GRPOTrainer):
    """Stock trainer that keeps what its methods return."""

    def _generate_and_score_completions(self, inputs):
        self.before = {name: hasattr(self, name) for name in ATTRIBUTES}
        self.batch = super()._generate_and_score_completions(inputs)
        return self.batch

    def _generate(self, prompts):
        self.generated = super()._generate(prompts)
        return self.generated

    def _calculate_rewards(self, *args):
        self.rewards_arguments = args
        self.rewards = super()._calculate_rewards(*args)
        return self.rewards


def trained_probe(folder, *, beta=0.0, model=None, rollout_func=None):
    arguments = tiny.arguments(folder, max_steps=1, beta=beta)
    del arguments["updates_per_iteration"]
    trainer = Probe(
        model or tiny.model(),
        [tiny.odd_start],
        GRPOConfig(steps_per_generation=2, gradient_accumulation_steps=1, **arguments),
        train_dataset=tiny.problems(),
        processing_class=tiny.tiny_tokenizer(),
        rollout_func=rollout_func,
    )
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    return trained_probe(tmp_path_factory.mktemp("probe"))


def test_attributes(probe):
    missing = [name for name, found in probe.before.items() if not found]
    assert not missing, f"TRL moved: GRPOTrainer lost {missing}"


def test_batch_keys_and_shapes(probe):
    found = {key: value.dim() for key, value in probe.batch.items()}
    assert found == BATCH, f"TRL moved: a batch holds {found}, the trainers expect {BATCH}"
    assert len(probe.batch["advantages"]) == 16, "TRL moved: a batch is not one generation batch of a process"


def test_optional_batch_keys_and_what_generation_returns(tmp_path):
    def rollout(prompts, trainer):
        tokenizer = trainer.processing_class
        return {
            "prompt_ids": [tokenizer(prompt)["input_ids"] for prompt in prompts],
            "completion_ids": [[5, 6, tokenizer.eos_token_id] for _ in prompts],
            "logprobs": [[-1.0, -2.0, -3.0] for _ in prompts],
            "env_mask": [[1, 0, 1] for _ in prompts],
        }

    folder = str(tmp_path / "start")
    tiny.model().save_pretrained(folder)
    probe = trained_probe(tmp_path, beta=0.1, model=folder, rollout_func=rollout)
    found = {key: value.dim() for key, value in probe.batch.items()}
    assert found == BATCH | OPTIONAL, f"TRL moved: a batch holds {found}, the trainers expect {BATCH | OPTIONAL}"
    assert probe.batch["tool_mask"].tolist() == [[1, 0, 1]] * 16, "TRL moved: tool_mask"
    assert probe.batch["sampling_per_token_logps"].tolist() == [[-1.0, -2.0, -3.0]] * 16, "TRL moved: logprobs"
    _, completion_ids, mask, *_ = probe.generated
    assert completion_ids[0] == [5, 6, 1], "TRL moved: _generate does not return the tokens of responses second"
    assert mask[0] == [1, 0, 1], "TRL moved: _generate does not return the mask of own tokens third"


def test_losses_are_taken_as_they_are():
    assert GRPOTrainer.loss_is_scaled_for_ga is True, "TRL moved: losses are not to be scaled for accumulation"


def test_ends_of_sequences(probe):
    tokenizer = tiny.tiny_tokenizer()
    assert list(probe.eos_token_ids) == [tokenizer.eos_token_id], "TRL moved: eos_token_ids"
    assert probe.generation_config.max_new_tokens == 8, "TRL moved: generation_config"
    assert probe.generated[2] is None, "TRL moved: _generate has a mask where all tokens are the model's own"


def test_rewards_are_gathered_with_a_column_for_each_function(probe):
    assert probe.rewards.shape == (16, 1), f"TRL moved: _calculate_rewards returns {tuple(probe.rewards.shape)}"
    inputs, prompts, completions, completion_ids = probe.rewards_arguments
    assert len(inputs) == len(prompts) == len(completions) == len(completion_ids) == 16, "TRL moved: reward arguments"
    assert isinstance(completion_ids[0], list), "TRL moved: completion_ids_list is not a list of lists"


def test_completions_are_logged_in_rank_order(probe):
    assert list(probe._logs["prompt"])[-16:] == list(probe.rewards_arguments[1]), "TRL moved: _logs['prompt']"
    assert list(probe._logs["completion"])[-16:] == list(probe.rewards_arguments[2]), "TRL moved: _logs['completion']"


def test_window_arithmetic(probe):
    assert probe.args.generation_batch_size == 16, "TRL moved: generation_batch_size"
    assert len(probe._buffered_inputs) == 2, "TRL moved: _buffered_inputs is not one batch for each step of generation"
    assert probe._step == 1, "TRL moved: _step does not count micro-steps"


def test_log_probabilities_of_the_fused_head_equal_those_of_the_logits(probe):
    batch = probe.batch
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    width = batch["completion_ids"].size(1)
    with torch.no_grad():
        fused = probe._get_per_token_logps_and_entropies(probe.model, ids, mask, width)
        model = tiny.model()
        model.load_state_dict(probe.model.state_dict())
        logits = model(input_ids=ids, attention_mask=mask).logits[:, -width - 1 : -1]
    plain = logits.log_softmax(-1).gather(2, batch["completion_ids"].unsqueeze(2)).squeeze(2)
    assert len(fused) == 3, "TRL moved: _get_per_token_logps_and_entropies does not return three values"
    torch.testing.assert_close(fused[0] * batch["completion_mask"], plain * batch["completion_mask"])
