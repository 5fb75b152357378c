"""MirrorDescentTrainer on a tiny real model."""

from types import SimpleNamespace

import pytest
import tiny
import torch
from transformers import TrainerCallback
from trl import GRPOConfig

from k15_plugins import MirrorDescentConfig
from k15_plugins.objective import baseline
from k15_plugins.shaping import length_reward
from k15_plugins.trainers.iteration_warmup import IterationWarmup


class Spy(TrainerCallback):
    """Keep what the trainer does at each step and iteration."""

    def __init__(self):
        self.rollouts = []
        self.adam_steps = []

    def on_rollouts(self, trainer, rollouts):
        self.rollouts.append(rollouts)

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        steps = [int(value["step"]) for value in optimizer.state.values() if "step" in value]
        self.adam_steps.append(max(steps, default=0))


def spied(folder, **changes):
    spy = Spy()
    trainer = tiny.trainer(folder, callbacks=[spy], **changes)
    trainer.train()
    return trainer, spy


def test_rho_is_zero_in_the_first_update_of_an_iteration_and_not_in_the_second(tmp_path):
    trainer, _ = spied(tmp_path)
    largest = tiny.logs(trainer, "k15/rho_abs_max")
    assert len(largest) == 6
    assert all(value < 1e-5 for value in largest[::2])
    assert all(value > 1e-2 for value in largest[1::2])
    assert all(share == 0 for share in tiny.logs(trainer, "k15/penalty_share")[::2])


def test_dropout_is_off_by_default_and_would_show_in_rho(tmp_path):
    silent, _ = spied(tmp_path, model=tiny.model(dropout=0.5), max_steps=1)
    noisy, _ = spied(tmp_path, model=tiny.model(dropout=0.5), max_steps=1, disable_dropout=False)
    assert tiny.logs(silent, "k15/rho_abs_max")[0] < 1e-5
    assert tiny.logs(noisy, "k15/rho_abs_max")[0] > 1e-3


def test_advantages_are_reward_minus_group_mean(tmp_path):
    _, spy = spied(tmp_path)
    for rollouts in spy.rollouts:
        rewards = torch.tensor([each["rewards"]["odd_start"] for each in rollouts])
        advantages = torch.tensor([each["advantage"] for each in rollouts])
        torch.testing.assert_close(advantages, rewards - rewards.view(-1, 4).mean(1).repeat_interleave(4))
        assert advantages.abs().max() > 0


def test_log_mean_exp_baseline_is_used(tmp_path):
    trainer, spy = spied(tmp_path, baseline="log_mean_exp", tau=0.2, max_steps=2)
    rewards = torch.tensor([each["reward"] for each in spy.rollouts[-1]])
    expected = rewards - baseline(rewards, 4, "log_mean_exp", tau=0.2)
    torch.testing.assert_close(torch.tensor([each["advantage"] for each in spy.rollouts[-1]]), expected)
    # What the loss is given, in another order, and TRL's table of completions.
    given = torch.cat([batch["advantages"] for batch in trainer._buffered_inputs])
    torch.testing.assert_close(given.sort().values, expected.sort().values)
    torch.testing.assert_close(torch.tensor(trainer._logs["advantages"])[-len(expected) :], expected)


def test_gradient_of_the_first_update_is_reinforce_whatever_tau(tmp_path):
    def norm(tau):
        return tiny.logs(spied(tmp_path, tau=tau, max_steps=2)[0], "grad_norm")

    weak, strong = norm(0.01), norm(10.0)
    assert weak[0] == pytest.approx(strong[0], rel=1e-6)
    assert weak[1] != pytest.approx(strong[1], rel=1e-2)


def test_gradient_accumulation_does_not_change_the_losses(tmp_path):
    once, _ = spied(tmp_path, updates_per_iteration=1, per_device_train_batch_size=16, max_steps=1)
    four, _ = spied(
        tmp_path, updates_per_iteration=1, per_device_train_batch_size=4, gradient_accumulation_steps=4, max_steps=1
    )
    assert tiny.logs(once, "grad_norm")[0] == pytest.approx(tiny.logs(four, "grad_norm")[0], rel=1e-5)


def test_several_passes_over_the_rollouts(tmp_path):
    trainer, spy = spied(tmp_path, num_iterations=2, updates_per_iteration=4, max_steps=8)
    assert len(spy.rollouts) == 2
    assert trainer.args.steps_per_generation == 2
    assert len(spy.rollouts[0]) == 16


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused", "adamw_bnb_8bit"])
def test_optimizer_is_reset_at_the_start_of_each_iteration(tmp_path, optim):
    _, spy = spied(tmp_path, optim=optim)
    assert spy.adam_steps == [0, 1, 0, 1, 0, 1]


def test_optimizer_reset_can_be_turned_off(tmp_path):
    _, spy = spied(tmp_path, reset_optimizer=False)
    assert spy.adam_steps == [0, 1, 2, 3, 4, 5]


def test_learning_rate_warms_up_inside_each_iteration(tmp_path):
    trainer = tiny.trainer(
        tmp_path, lr_warmup_updates=2, updates_per_iteration=4, per_device_train_batch_size=4, max_steps=8
    )
    rates = []
    step = trainer.create_optimizer().step
    trainer.optimizer.step = lambda *a, **k: (rates.append(trainer.optimizer.param_groups[0]["lr"]), step(*a, **k))[1]
    trainer.train()
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.01] * 2)
    assert set(tiny.logs(trainer, "learning_rate")) == {0.01}


def test_a_scheduler_that_goes_on_from_the_last_learning_rate_sees_its_own():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.8)
    warmup = IterationWarmup(SimpleNamespace(optimizer=optimizer))
    args = SimpleNamespace(updates_per_iteration=4, lr_warmup_updates=2)
    warmup.on_pre_optimizer_step(args, SimpleNamespace(global_step=4), None)
    assert optimizer.param_groups[0]["lr"] == 0.4
    warmup.on_optimizer_step(args, None, None)
    assert optimizer.param_groups[0]["lr"] == 0.8


def test_length_reward_enters_after_the_warm_up_and_only_the_total(tmp_path):
    trainer, spy = spied(
        tmp_path, length_penalty_weight=2.0, length_penalty_warmup_iterations=1, max_completion_length=64
    )
    assert all(each["rewards"]["length_reward"] == 0 for each in spy.rollouts[0])
    tokens_N = torch.cat([batch["completion_mask"].sum(dim=1) for batch in trainer._buffered_inputs])
    assert sorted(tokens_N.tolist()) == sorted(each["tokens"] for each in spy.rollouts[-1])
    for rollouts in spy.rollouts[1:]:
        right = torch.tensor([each["rewards"]["odd_start"] for each in rollouts])
        tokens = torch.tensor([each["tokens"] for each in rollouts])
        expected = length_reward(tokens, right.bool(), 4)
        torch.testing.assert_close(torch.tensor([each["rewards"]["length_reward"] for each in rollouts]), expected)
        total = torch.tensor([each["reward"] for each in rollouts])
        torch.testing.assert_close(total, right + 2.0 * expected)
        advantages = torch.tensor([each["advantage"] for each in rollouts])
        torch.testing.assert_close(advantages, total - total.view(-1, 4).mean(1).repeat_interleave(4))
        assert expected.abs().max() > 0
    right_share = [sum(each["right"] for each in rollouts) / 16 for rollouts in spy.rollouts]
    assert tiny.logs(trainer, "k15/accuracy") == pytest.approx(right_share)


def test_drops_differ_from_iteration_to_iteration_and_are_the_same_in_every_run(tmp_path):
    class Keeps(tiny.MirrorDescentTrainer):
        def _set_advantages(self, now, output):
            super()._set_advantages(now, output)
            self.kept.append(output["keep"].tolist())

    def by_place(completion_ids, **_):
        return [float(place % 2) for place in range(len(completion_ids))]

    def kept():
        trainer = tiny.trainer(tmp_path, Keeps, reward_funcs=[by_place], drop_negative_probability=0.5, max_steps=8)
        trainer.kept = []
        trainer.train()
        return trainer.kept

    drops = kept()
    assert all(keep[1::2] == [1.0] * 8 for keep in drops)
    assert len({tuple(keep) for keep in drops}) == 4
    assert kept() == drops


def test_dead_groups_are_refilled_within_the_bound(tmp_path):
    def rarely(completion_ids, **_):
        return [float(ids[0] % 5 == 0) for ids in completion_ids]

    plain, _ = spied(tmp_path, reward_funcs=[rarely], max_steps=2, train_dataset=tiny.problems(64))
    filled, spy = spied(tmp_path, reward_funcs=[rarely], max_steps=2, max_refills=3, train_dataset=tiny.problems(64))
    assert tiny.logs(plain, "k15/dead_groups")[0] > 0
    batch = torch.cat([piece["advantages"] for piece in filled._buffered_inputs])
    assert len(batch) == 16
    assert (batch != 0).sum() > 16 * (1 - tiny.logs(plain, "k15/dead_groups")[0]) - 1e-6
    assert 2 <= len(spy.rollouts) <= 4
    drawn = [each["problem"] for rollouts in spy.rollouts for each in rollouts[::4]]
    assert len(drawn) == len(set(drawn))


def test_figures_of_an_iteration_with_refills_are_about_all_its_rollouts_and_the_batch_that_is_trained_on(tmp_path):
    verdicts = [[1, 0, 0, 0], [0] * 4, [1] * 4, [0] * 4], [[1] * 4, [1, 1, 0, 0], [0] * 4]
    told = iter(verdicts)

    def scripted(completion_ids, **_):
        return [float(verdict) for group in next(told) for verdict in group]

    trainer, spy = spied(tmp_path, reward_funcs=[scripted], max_steps=1, max_refills=1)
    assert [len(rollouts) for rollouts in spy.rollouts] == [16, 12]
    # One of three dead groups was replaced by the one spare group that is alive.
    assert tiny.logs(trainer, "k15/refilled_groups") == [1]
    assert tiny.logs(trainer, "k15/dead_groups") == [0.5]
    batch = torch.cat([piece["advantages"] for piece in trainer._buffered_inputs])
    assert (batch != 0).sum() == 8
    rights_G = torch.tensor([group for call in verdicts for group in call]).float().mean(dim=1)
    expected = {
        "accuracy": rights_G.mean(),
        "baseline": rights_G.mean(),
        "group_accuracy_std": rights_G.std(correction=0),
        "groups_all_right": (rights_G == 1).float().mean(),
        "groups_all_wrong": (rights_G == 0).float().mean(),
    }
    for name, value in expected.items():
        assert tiny.logs(trainer, f"k15/{name}") == pytest.approx([value.item()]), name


def test_refilled_rows_keep_their_log_probabilities(tmp_path):
    def rarely(completion_ids, **_):
        return [float(ids[0] % 5 == 0) for ids in completion_ids]

    trainer, _ = spied(
        tmp_path, reward_funcs=[rarely], max_steps=1, max_refills=3, learning_rate=0.0, train_dataset=tiny.problems(64)
    )
    assert tiny.logs(trainer, "k15/rho_abs_max")[0] < 1e-5


def test_rest_has_no_negative_gradient_and_no_penalty(tmp_path):
    trainer, spy = spied(tmp_path, positives_only=True)
    assert {each["advantage"] for rollouts in spy.rollouts for each in rollouts} == {0.0, 1.0}
    assert set(tiny.logs(trainer, "k15/penalty_share")) == {0.0}


def test_dropped_negatives_leave_the_loss(tmp_path):
    trainer, _ = spied(tmp_path, drop_negative_probability=1.0, max_steps=1)
    for piece in trainer._buffered_inputs:
        assert torch.equal(piece["keep"], (piece["advantages"] >= 0).float())


def test_rollouts_without_verdict_give_no_gradient(tmp_path):
    def silent(completion_ids, **_):
        return [None] * len(completion_ids)

    trainer, _ = spied(tmp_path, reward_funcs=[silent])
    assert tiny.logs(trainer, "grad_norm") == [0.0] * 6
    assert trainer.sampler.metrics()["share_seen"] == 0


def test_drift_control_uses_trls_beta(tmp_path):
    folder = tmp_path / "start"
    tiny.model().save_pretrained(folder)
    tiny.tiny_tokenizer().save_pretrained(folder)
    trainer, _ = spied(tmp_path, model=str(folder), beta=0.1)
    drift = tiny.logs(trainer, "kl")
    assert drift[0] == pytest.approx(0, abs=1e-6)
    assert drift[-1] > 1e-3


def test_peft(tmp_path):
    peft = pytest.importorskip("peft")
    trainer, spy = spied(tmp_path, peft_config=peft.LoraConfig(r=4, target_modules="all-linear"))
    assert spy.adam_steps == [0, 1, 0, 1, 0, 1]
    assert tiny.logs(trainer, "k15/rho_abs_max")[1] > 1e-4


def test_final_reward_by_name_and_threshold(tmp_path):
    def style(completion_ids, **_):
        return [1.0] * len(completion_ids)

    _, spy = spied(tmp_path, reward_funcs=[style, tiny.odd_start], final_reward="odd_start", max_steps=1)
    assert [each["right"] for each in spy.rollouts[0]] == [
        bool(each["rewards"]["odd_start"]) for each in spy.rollouts[0]
    ]
    with pytest.raises(ValueError, match="final_reward must be one of odd_start, got 'oddstart'"):
        tiny.trainer(tmp_path, final_reward="oddstart")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps_per_generation": 2}, "steps_per_generation=2 cannot be set: it follows from updates_per_iteration=2"),
        ({"num_iterations": 3}, "updates_per_iteration=2 times gradient_accumulation_steps=1 is not divisible"),
        ({"generation_batch_size": 32}, "generation_batch_size=32 gives 4 updates an iteration"),
        ({"loss_type": "grpo"}, "loss_type='grpo' belongs to GRPO's loss"),
        ({"epsilon": 0.1}, "epsilon=0.1 belongs to GRPO's loss"),
        ({"scale_rewards": "group"}, "scale_rewards='group' would divide the advantage"),
        ({"baseline": "median"}, "baseline must be one of mean, log_mean_exp, got 'median'"),
        ({"tau": -1.0}, "tau must be 0 or more, got -1.0; the default is 0.4"),
        ({"tau": 0.0, "baseline": "log_mean_exp"}, "tau must be above 0 with baseline='log_mean_exp', got 0"),
        ({"lr_warmup_updates": 3}, "lr_warmup_updates must be at most updates_per_iteration=2, got 3"),
        ({"log_ratio_interval": [1.0]}, r"log_ratio_interval must be two numbers .* or None, got \[1.0\]"),
        ({"importance_weight_cap": 0.0}, "importance_weight_cap must be above 0 or None, got 0.0"),
        ({"updates_per_iteration": 0}, "updates_per_iteration must be 1 or more, got 0"),
        ({"log_ratio_interval": [0.5, 1.0]}, "must be two numbers \\[alpha, beta\\] with alpha < 0 < beta"),
        ({"log_ratio_interval": 0.5}, "log_ratio_interval must be two numbers .* got 0.5"),
        ({"log_ratio_interval": ["a", "b"]}, r"log_ratio_interval must be two numbers .* got \['a', 'b'\]"),
        ({"fail_truncated": "no"}, "fail_truncated must be true or false or None, got 'no'"),
        ({"positives_only": "no"}, "positives_only must be true or false, got 'no'"),
        ({"tau": "0.1"}, "tau must be a number, got '0.1'; the default is 0.4"),
        ({"tau": float("inf")}, "tau must be a finite number, got inf"),
        ({"max_refills": 1.5}, "max_refills must be a whole number, got 1.5"),
        ({"entropy_target": 0.5}, "entropy_target=0.5 belongs to GRPO's loss"),
        ({"temperature": 0.0}, r"temperature must be above 0 \(1 samples from the policy itself\), got 0.0"),
        ({"temperature": float("inf")}, "temperature must be a finite number, got inf"),
        ({"temperature": float("nan")}, "temperature must be a finite number, got nan"),
        ({"learning_rate": "1e-5"}, "learning_rate must be a number, got '1e-5'; the default is 1e-06"),
        ({"max_steps": "10"}, "max_steps must be a whole number, got '10'; the default is -1"),
        ({"num_generations": 1}, "num_generations must be a whole number from 2, got 1"),
        ({"num_generations": 4.0}, "num_generations must be a whole number, got 4.0; the default is 8"),
        ({"max_completion_length": 0}, "max_completion_length must be a whole number from 1, got 0"),
        ({"save_steps": float("inf")}, "save_steps must be a finite number, got inf"),
        ({"weight_decay": float("nan")}, "weight_decay must be a finite number, got nan"),
        ({"num_train_epochs": float("inf")}, "num_train_epochs must be a finite number, got inf"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5"),
        ({"log_completions": "yes"}, "log_completions must be true or false, got 'yes'"),
        ({"reward_weights": [float("nan")]}, r"reward_weights must be a list of finite numbers, got \[nan\]"),
        ({"seed": -1}, "seed must be a whole number from 0 to 4294967295, got -1"),
        (
            {"positives_only": True, "drop_negative_probability": 0.5},
            "drop_negative_probability=0.5 has no effect with positives_only",
        ),
    ],
)
def test_impossible_settings_are_refused_with_the_cure(tmp_path, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        MirrorDescentConfig(**tiny.arguments(tmp_path, **changes))


def test_generation_batch_size_that_fits_is_taken(tmp_path):
    config = MirrorDescentConfig(**tiny.arguments(tmp_path, generation_batch_size=16))
    assert config.steps_per_generation == 2


def test_evaluation_reports_accuracy_and_leaves_the_iteration_alone(tmp_path):
    trainer, spy = spied(
        tmp_path,
        eval_dataset=tiny.problems(6),
        eval_strategy="steps",
        eval_steps=1,
        num_generations_eval=1,
        per_device_eval_batch_size=6,
        length_penalty_weight=1.0,
    )
    assert len(spy.rollouts) == 3
    assert len(tiny.logs(trainer, "eval_k15/accuracy")) == 6
    assert all(value < 1e-5 for value in tiny.logs(trainer, "k15/rho_abs_max")[::2])


def test_held_out_accuracy_is_the_share_of_right_rollouts_whatever_the_batches(tmp_path):
    held_out = tiny.problems(5)

    def first_problem(prompts, **_):
        return [float(prompt == held_out["prompt"][0]) for prompt in prompts]

    trainer = tiny.trainer(
        tmp_path,
        reward_funcs=[first_problem],
        eval_dataset=held_out,
        num_generations_eval=1,
        per_device_eval_batch_size=4,
    )
    assert trainer.evaluate()["eval_k15/accuracy"] == pytest.approx(0.2)
    # With several processes the loader begins anew to fill up their last batches; that is not counted twice.
    trainer.callback_handler.eval_dataloader = trainer.get_eval_dataloader(held_out)
    trainer.model.eval()
    for prompts in (held_out["prompt"][1:5], [held_out["prompt"][0]] * 4):
        trainer._generate_and_score_completions([{"prompt": prompt} for prompt in prompts])
    assert trainer._metrics["eval"]["k15/accuracy"] == [0, 0, 0, 0, 1]


def test_lengths_are_those_of_the_models_own_tokens(tmp_path):
    def with_environment(prompts, trainer):
        tokenizer = trainer.processing_class
        own = [1 + place % 4 for place in range(len(prompts))]
        return {
            "prompt_ids": [tokenizer(prompt)["input_ids"] for prompt in prompts],
            "completion_ids": [[5] * tokens + [9] * 6 + [tokenizer.eos_token_id] for tokens in own],
            "env_mask": [[1] * tokens + [0] * (6 - tokens) + [0] * tokens + [1] for tokens in own],
            "logprobs": None,
        }

    trainer, spy = spied(
        tmp_path, rollout_func=with_environment, length_penalty_weight=1.0, max_completion_length=16, max_steps=2
    )
    rollouts = spy.rollouts[0]
    assert [each["tokens"] for each in rollouts] == [2, 3, 4, 5] * 4
    expected = length_reward(torch.tensor([2, 3, 4, 5] * 4), torch.ones(16, dtype=torch.bool), 4)
    assert [each["rewards"]["length_reward"] for each in rollouts] == pytest.approx(expected.tolist())
    assert tiny.logs(trainer, "completions/mean_length")[0] == 3.5


def with_logprobs(gap):
    """Return a rollout_func whose log-probabilities lie `gap` nats below those of the model, 2 * `gap` once."""

    def rollout(prompts, trainer):
        tokenizer = trainer.processing_class
        prompt_ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
        completion_ids = [[5 + place % 3, 7, tokenizer.eos_token_id] for place in range(len(prompts))]
        logprobs = []
        with torch.no_grad():
            for ids, own in zip(prompt_ids, completion_ids, strict=True):
                logits = trainer.model(input_ids=torch.tensor([ids + own])).logits[0, len(ids) - 1 : -1]
                found = logits.log_softmax(-1).gather(1, torch.tensor(own).unsqueeze(1)).squeeze(1) - gap
                logprobs.append(found.tolist())
        logprobs[3][1] -= gap
        return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": logprobs}

    return rollout


@pytest.mark.filterwarnings("ignore:the engine's log-probabilities differ")  # the test makes them
def test_the_gap_to_a_samplers_log_probabilities_is_logged_and_capped(tmp_path):
    def grad_norm(gap, **changes):
        trainer, _ = spied(tmp_path, rollout_func=with_logprobs(gap), max_steps=1, temperature=1.0, **changes)
        assert tiny.logs(trainer, "k15/rollout_logp_gap_max")[0] == pytest.approx(2 * gap, abs=1e-4)
        return tiny.logs(trainer, "grad_norm")[0]

    plain = grad_norm(0.5)
    # Each weight is exp(0.5) or more, and so all lie at the cap.
    assert grad_norm(0.5, importance_weight_cap=1.5) == pytest.approx(1.5 * plain, rel=1e-4)
    assert grad_norm(0.5, importance_weight_cap=9.0) > 1.6 * plain
    assert grad_norm(0.0, importance_weight_cap=1.5) == pytest.approx(plain, rel=1e-4)


def test_importance_weights_without_log_probabilities_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"importance_weight_cap=2.0 needs the engine's log-probabilities"):
        tiny.trainer(tmp_path, importance_weight_cap=2.0)

    def silent(prompts, trainer):
        return with_logprobs(0.0)(prompts, trainer) | {"logprobs": None}

    with pytest.raises(ValueError, match=r"importance_weight_cap=2.0 .* rollout_func gave logprobs=None"):
        spied(tmp_path, importance_weight_cap=2.0, rollout_func=silent)


def test_conversational_prompts(tmp_path):
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }} {% endfor %}{% if add_generation_prompt %}={% endif %}"
    )
    rows = tiny.problems().map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})
    trainer = tiny.MirrorDescentTrainer(
        tiny.model(),
        [tiny.odd_start],
        MirrorDescentConfig(**tiny.arguments(tmp_path, max_steps=2)),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    trainer.train()
    assert trainer.state.global_step == 2


def test_another_trainers_config_is_refused(tmp_path):
    with pytest.raises(ValueError, match="args must be a MirrorDescentConfig, got a GRPOConfig"):
        tiny.MirrorDescentTrainer(tiny.model(), [tiny.odd_start], GRPOConfig(str(tmp_path), bf16=False))


def test_shuffle_dataset_needs_a_sampler(tmp_path):
    with pytest.raises(ValueError, match="shuffle_dataset=False has no effect on a sampler"):
        tiny.trainer(tmp_path, shuffle_dataset=False)


def test_the_callers_reward_functions_stay_his(tmp_path):
    functions = [tiny.odd_start]
    tiny.trainer(tmp_path, reward_funcs=functions, length_penalty_weight=1.0)
    assert functions == [tiny.odd_start]


def test_rollouts_without_verdict_stay_out_of_evaluation_with_a_length_penalty(tmp_path):
    def half_silent(prompts, **_):
        return [None if prompt.endswith(("1", "3", "5")) else 1.0 for prompt in prompts]

    trainer = tiny.trainer(
        tmp_path,
        reward_funcs=[half_silent],
        length_penalty_weight=1.0,
        eval_dataset=tiny.problems(6),
        num_generations_eval=1,
        per_device_eval_batch_size=6,
    )
    assert trainer.evaluate()["eval_reward"] == 1.0
