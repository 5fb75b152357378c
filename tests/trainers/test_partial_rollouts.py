"""Rollouts over several iterations, on a tiny real model that generates with transformers."""

import pytest
import tiny
import torch
from peft import LoraConfig
from transformers import TrainerCallback
from trl import GRPOTrainer

from k15_plugins import PrioritizedSampler
from k15_plugins.generation.segments import Segment
from k15_plugins.generation.vllm_server import ServerLost
from k15_plugins.objective import mirror_descent_loss
from k15_plugins.trainers import partial_rollout_trainer, partial_rollouts
from k15_plugins.trainers.fill import mask_of_last_tokens

GREEDY = {"do_sample": False, "temperature": None}


class Listener(TrainerCallback):
    def __init__(self):
        self.iterations = []

    def on_rollouts(self, trainer, rollouts):
        self.iterations.append(rollouts)

    @property
    def rollouts(self):
        return [each for rollouts in self.iterations for each in rollouts]


def sharp_model(ends: float = 2.0):
    """A random model whose tokens depend on what came before, and that ends now and then."""
    model = tiny.model(seed=1)
    with torch.no_grad():
        model.lm_head.weight *= 30
        model.lm_head.weight[model.config.eos_token_id] *= ends
    return model


def build(folder, **changes):
    listener = Listener()
    settings = {"max_completion_length": 16, "max_steps": 12, "model": sharp_model(), "callbacks": [listener]}
    return tiny.trainer(folder, **settings | changes), listener


def trained(folder, **changes):
    trainer, listener = build(folder, **changes)
    trainer.train()
    return trainer, listener


def test_a_greedy_rollout_in_segments_equals_the_rollout_in_one_piece(tmp_path):
    frozen = {"learning_rate": 0.0, "generation_kwargs": GREEDY, "max_steps": 24}
    _, whole = trained(tmp_path, **frozen)
    trainer, pieces = trained(tmp_path, **frozen, rollout_budget_tokens=3)
    rounds = tiny.logs(trainer, "rollouts/rounds")
    assert rounds.count(1) > 4
    expected = {each["problem"]: each["response"] for each in whole.rollouts}
    assert len({*expected.values()}) > 4
    assert {each["tokens"] for each in whole.rollouts} >= {16}
    assert any(each["stop"] == "eos" for each in pieces.rollouts)
    assert max(len(each["segments"]) for each in pieces.rollouts) > 3
    assert len(pieces.rollouts) >= 40
    for each in pieces.rollouts:
        assert each["response"] == expected[each["problem"]]
        assert sum(tokens for _, tokens in each["segments"]) == each["tokens"]
        assert all(tokens <= 3 * rounds[iteration] for iteration, tokens in each["segments"])
        assert [iteration for iteration, _ in each["segments"]] == sorted({i for i, _ in each["segments"]})
    # The engine's log-probabilities, kept segment by segment, are the trainer's over the whole response.
    assert max(tiny.logs(trainer, "k15/rollout_logp_gap_max")) < 1e-5


def test_log_probabilities_of_the_engine_are_those_of_the_trainer_at_any_temperature(tmp_path):
    trainer, _ = trained(tmp_path, rollout_budget_tokens=3, temperature=0.7, learning_rate=0.0)
    assert max(tiny.logs(trainer, "k15/rollout_logp_gap_max")) < 1e-5


def test_nothing_is_lost_and_the_oldest_go_on_first(tmp_path):
    trainer, listener = trained(tmp_path, rollout_budget_tokens=4, max_steps=20)
    held = trainer.rollouts.buffer
    assert len(held.groups) > 0
    started = [group.problem for group in held.groups]
    ended = [rollouts[::4] for rollouts in listener.iterations]
    assert all(each["segments"][-1][0] <= place for place, rollouts in enumerate(ended) for each in rollouts)
    # 4 groups are started in an iteration unless groups wait: each comes out once, whole, or is still there.
    assert trainer.sampler.iteration == 9
    assert len(listener.rollouts) % 4 == 0
    for rollouts in listener.iterations:
        for first in range(0, len(rollouts), 4):
            assert len({each["problem"] for each in rollouts[first : first + 4]}) == 1
    assert len(started) + len(listener.rollouts) // 4 >= 4 * 9


@pytest.mark.filterwarnings("ignore:rho of an iteration's first update")  # the test's log-probabilities are made up
def test_the_loss_is_the_mean_over_the_real_rows_however_the_batch_is_filled(tmp_path):
    trainer, listener = trained(tmp_path, rollout_budget_tokens=3, max_steps=8)
    batches = trainer._buffered_inputs
    real = len(listener.iterations[-1])
    assert 0 < real < 16
    losses, expected = [], []
    for batch in batches:
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        losses.append(trainer._compute_loss(trainer.model, batch).item())
        logps, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model,
            torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1),
            torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1),
            batch["completion_ids"].size(1),
        )
        kept = batch["keep"].bool()
        parts = mirror_descent_loss(
            logps, batch["old_per_token_logps"], batch["completion_mask"], batch["advantages"], trainer.args.tau
        )
        expected += parts.loss_B[kept].tolist()
    assert len(expected) == real
    assert sum(losses) / len(losses) == pytest.approx(sum(expected) / real, rel=1e-5, abs=1e-7)
    assert any(expected)


def test_only_the_current_segment_is_in_the_loss_when_asked(tmp_path):
    trainer, _ = trained(tmp_path, rollout_budget_tokens=5, segments_in_loss="current", max_steps=5)
    old = new = 0
    for batch in trainer._buffered_inputs:
        in_loss = batch["completion_mask"] * batch["tool_mask"]
        old += int((batch["completion_mask"] - in_loss).sum())
        new += int(in_loss.sum())
    taken = trainer._now.trajectories()
    assert new == sum(each.tokens_of(trainer.iteration) for each in taken)
    assert old == sum(each.num_tokens - each.tokens_of(trainer.iteration) for each in taken) > 0


def test_mask_of_last_tokens():
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    expected = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    torch.testing.assert_close(mask_of_last_tokens(mask, [2, 0, 1]), expected)


def test_the_cap_on_segments_lets_a_trajectory_end(tmp_path):
    _, listener = trained(tmp_path, rollout_budget_tokens=2, max_rollout_segments=3, max_steps=16)
    lengths = [len(each["segments"]) for each in listener.rollouts]
    assert max(lengths) == 3
    assert any(each["segments"][-1][1] > 2 for each in listener.rollouts)


def test_another_round_of_an_iteration_is_not_the_last_one(tmp_path):
    trainer, listener = trained(tmp_path, rollout_budget_tokens=2, max_rollout_segments=2, max_steps=16)
    assert tiny.logs(trainer, "rollouts/rounds")[0] > 1
    assert any(len(each["segments"]) == 2 for each in listener.rollouts)


def test_the_others_pause_when_the_wanted_share_has_ended(tmp_path):
    trainer, listener = trained(
        tmp_path, rollout_pause_share=0.25, rollout_pool_groups=6, max_completion_length=64, max_steps=16
    )
    assert any(len(each["segments"]) > 1 for each in listener.rollouts)
    assert max(each["tokens"] for each in listener.rollouts) > 16
    fills = tiny.logs(trainer, "rollouts/batch_fill")
    assert len(trainer.rollouts.buffer.groups) + 4 * fills[-1] == 6


def test_a_response_that_was_cut_off_is_flagged_and_has_no_reward(tmp_path):
    _, listener = trained(tmp_path, rollout_budget_tokens=4)
    cut = [each for each in listener.rollouts if each["stop"] == "length"]
    assert cut
    assert all(each["truncated"] and each["reward"] == 0 and not each["right"] for each in cut)
    assert any(each["right"] for each in listener.rollouts)
    _, kept = trained(tmp_path, rollout_budget_tokens=4, fail_truncated=False)
    assert any(each["right"] for each in kept.rollouts if each["stop"] == "length")


def test_repetitions_are_stopped_at_the_same_token_in_one_piece_and_in_segments(tmp_path):
    def looping(**changes):
        rule = {"repetition_max_period": 4, "repetition_min_count": 3, "repetition_penalty_weight": 0.5}
        frozen = {"learning_rate": 0.0, "generation_kwargs": GREEDY, "max_completion_length": 60}
        trainer, listener = trained(tmp_path, model=sharp_model(1.0), **rule, **frozen, **changes)
        return trainer, {each["problem"]: (each["tokens"], each["stop"]) for each in listener.rollouts}, listener

    trainer, whole, listener = looping(max_steps=24)
    stopped = [each for each in listener.rollouts if each["stop"] == "repetition"]
    assert len(stopped) > 10
    assert all(each["tokens"] < 60 and each["rewards"]["repetition_penalty"] == -1 for each in stopped)
    assert all(each["reward"] == -0.5 for each in stopped)
    assert max(tiny.logs(trainer, "k15/repetitions")) > 0
    _, pieces, _ = looping(max_steps=24, rollout_budget_tokens=7)
    assert len(pieces) > 4
    assert all(whole[problem] == stop for problem, stop in pieces.items())


@pytest.mark.parametrize("step", [1, 4, 7])
def test_resuming_is_bit_equal_with_trajectories_in_the_buffer(tmp_path, step):
    from test_resume import figures

    settings = {
        "rollout_budget_tokens": 3,
        "save_strategy": "steps",
        "save_steps": 1,
        "updates_per_iteration": 2,
        "max_steps": 10,
    }

    def run(**changes):
        trainer, listener = build(tmp_path, model=sharp_model(), sampler=PrioritizedSampler(12, seed=5), **settings)
        trainer.train(**changes)
        return trainer, figures(trainer), listener.iterations

    whole, expected, rollouts = run()
    assert whole.rollouts.buffer.metrics()["unfinished_trajectories"] > 0
    again, found, rest = run(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
    assert found == expected
    assert rest == rollouts[-len(rest) :]
    ours, theirs = again.rollouts.buffer.state_dict(), whole.rollouts.buffer.state_dict()
    assert ours["segments"] == theirs["segments"]
    assert (ours["ids"] == theirs["ids"]).all()
    assert (ours["logps"] == theirs["logps"]).all()


@pytest.mark.filterwarnings("ignore:the engine's log-probabilities differ")  # the test makes them
def test_a_response_that_breaks_off_after_a_padding_token_is_cut_off(tmp_path, monkeypatch):
    padding = tiny.tiny_tokenizer().pad_token_id

    def segments(trainer, request):
        return [Segment([9] + [padding] * (tokens - 1), [-1.0] * tokens) for tokens in request.allowances]

    monkeypatch.setattr(partial_rollouts, "generate_segments", segments)
    _, listener = trained(tmp_path, rollout_budget_tokens=8, max_steps=2)
    assert {(each["stop"], each["truncated"], each["reward"]) for each in listener.rollouts} == {("length", True, 0)}


@pytest.mark.filterwarnings("ignore:the engine's log-probabilities differ")  # the test makes them
def test_the_logged_kl_is_the_mean_over_the_tokens_of_real_rows(tmp_path, monkeypatch):
    def segments(trainer, request):
        ids = [
            [9] * (tokens - 1) + [trainer.eos_token_ids[0] if place < 4 else 9]
            for place, tokens in enumerate(request.allowances)
        ]
        return [Segment(row, [-1.0] * len(row)) for row in ids]

    monkeypatch.setattr(partial_rollouts, "generate_segments", segments)
    weights = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    trainer, _ = build(tmp_path, rollout_budget_tokens=4, beta=0.1, max_steps=1, peft_config=weights)
    seen = []
    whole_loss = trainer._compute_loss

    def loss(model, inputs):
        found = whole_loss(model, inputs)
        logps, _, _ = trainer._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            inputs["completion_ids"].size(1),
        )
        drift = inputs["ref_per_token_logps"] - logps
        kl = (drift.exp() - drift - 1)[inputs["completion_mask"].bool()].mean()
        seen.append((trainer._metrics["train"]["kl"][-1], kl.item(), inputs["keep"]))
        return found

    trainer._compute_loss = loss
    trainer.train()
    ((logged, real, keep),) = seen
    assert 0 < keep.sum() < len(keep)
    assert logged == pytest.approx(real, rel=1e-5)


def test_evaluation_goes_without_importance_weights(tmp_path):
    evaluation = {"eval_strategy": "steps", "eval_steps": 2, "eval_dataset": tiny.problems(4)}
    trainer, _ = trained(tmp_path, rollout_budget_tokens=3, importance_weight_cap=2.0, max_steps=4, **evaluation)
    assert len(tiny.logs(trainer, "eval_loss")) == 2


def test_a_server_lost_while_dead_groups_are_replaced_loses_no_rollout(tmp_path, monkeypatch):
    engine, losses = partial_rollouts.generate_segments, []

    def segments(trainer, request):
        if trainer._now.refill or losses:
            losses.append(trainer.iteration)
            raise ServerLost("the server is gone")
        return engine(trainer, request)

    monkeypatch.setattr(partial_rollouts, "generate_segments", segments)
    trainer, listener = build(tmp_path, repetition_max_period=3, max_refills=2, max_steps=6)
    with (
        pytest.warns(UserWarning, match="the server is gone; dead groups of this iteration stay"),
        pytest.raises(RuntimeError, match=r"the server is gone; .* was saved to .*: start the server and resume"),
    ):
        trainer.train()
    assert losses == [len(listener.iterations) - 1, len(listener.iterations)]
    monkeypatch.setattr(partial_rollouts, "generate_segments", engine)
    again, rest = build(tmp_path, repetition_max_period=3, max_refills=2, max_steps=6)
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 6
    assert {each["iteration"] for each in listener.rollouts + rest.rollouts} == {0, 1, 2}


def test_an_iteration_that_a_lost_server_broke_off_draws_its_problems_once(tmp_path, monkeypatch):
    settings = {"rollout_budget_tokens": 5, "max_steps": 8}
    _, whole = trained(tmp_path / "whole", **settings)
    engine = partial_rollouts.generate_segments

    def lost_in_the_second(trainer, request):
        if trainer.iteration == 1:
            raise ServerLost("the server is gone")
        return engine(trainer, request)

    monkeypatch.setattr(partial_rollouts, "generate_segments", lost_in_the_second)
    first, before = build(tmp_path / "broken", **settings)
    with pytest.raises(RuntimeError, match="start the server and resume"):
        first.train()
    monkeypatch.setattr(partial_rollouts, "generate_segments", engine)
    again, after = build(tmp_path / "broken", **settings)
    again.train(resume_from_checkpoint=True)
    assert before.rollouts + after.rollouts == whole.rollouts


def test_a_server_lost_while_evaluating_ends_the_training_with_a_checkpoint(tmp_path, monkeypatch):
    def lost(*_):
        raise ServerLost("the server is gone")

    settings = {
        "rollout_budget_tokens": 3,
        "eval_dataset": tiny.problems(4),
        "eval_strategy": "steps",
        "eval_steps": 3,
    }
    with monkeypatch.context() as patch:
        patch.setattr(partial_rollout_trainer, "generate_whole", lost)
        trainer, listener = build(tmp_path, **settings, max_steps=6)
        with pytest.raises(RuntimeError, match=r"the server is gone; .*checkpoint-3: start the server and resume"):
            trainer.train()
    again, rest = build(tmp_path, **settings, max_steps=6)
    again.train(resume_from_checkpoint=True)
    assert len(listener.iterations) == 2
    assert [rollouts[0]["iteration"] for rollouts in rest.iterations] == [2]
    assert len(tiny.logs(again, "eval_loss")) == 1


SAVE = {"save_strategy": "steps", "save_steps": 2, "max_steps": 2}


def test_waiting_rollouts_are_not_dropped_by_a_training_without_the_options(tmp_path):
    trainer, _ = trained(tmp_path, rollout_budget_tokens=3, rollout_pool_groups=8, **SAVE)
    assert trainer.rollouts.buffer.groups
    plain, _ = build(tmp_path, max_steps=4)
    with pytest.raises(
        ValueError, match=r"holds \d groups of rollouts that are not trained on yet.*; set rollout_bud"
    ):
        plain.train(resume_from_checkpoint=True)
    # Without the budget, the rule for repetitions alone lets them go on.
    again, listener = build(tmp_path, repetition_max_period=4, max_steps=4)
    again.train(resume_from_checkpoint=True)
    assert any(each["segments"][0][0] == 0 for each in listener.rollouts)


def test_a_training_without_the_options_goes_on_with_them(tmp_path):
    trained(tmp_path, **SAVE)
    again, listener = build(tmp_path, rollout_budget_tokens=3, max_steps=6)
    again.train(resume_from_checkpoint=True)
    assert len(listener.iterations) == 2


def test_a_second_training_begins_without_rollouts(tmp_path):
    trainer, listener = trained(tmp_path, repetition_max_period=4, max_steps=2)
    trainer.train()
    assert len(listener.iterations) == 2
    trainer, listener = trained(tmp_path, rollout_budget_tokens=3, max_steps=6)
    trainer.train()
    for each in listener.rollouts:
        assert [iteration for iteration, _ in each["segments"]] == sorted({i for i, _ in each["segments"]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rollout_budget_tokens": 0}, "rollout_budget_tokens must be 1 or more or None, got 0"),
        ({"rollout_pause_share": 1.0}, "rollout_pause_share must be between 0 and 1 or None, got 1.0"),
        ({"rollout_pool_groups": 8}, "rollout_pool_groups=8 has no effect without partial rollouts; set"),
        ({"segments_in_loss": "current"}, "segments_in_loss='current' has no effect without partial rollouts"),
        (
            {"rollout_budget_tokens": 4, "segments_in_loss": "new"},
            "segments_in_loss must be one of all, current, got 'new'",
        ),
        ({"rollout_budget_tokens": 4, "max_refills": 1}, "max_refills=1 would wait for whole new groups"),
        ({"rollout_budget_tokens": 4, "rollout_pool_groups": 3}, "rollout_pool_groups=3 is below the 4 groups"),
        ({"rollout_budget_tokens": "24"}, "rollout_budget_tokens must be a whole number or None, got '24'"),
        ({"rollout_budget_tokens": 2.5}, "rollout_budget_tokens must be a whole number or None, got 2.5"),
        ({"rollout_pause_share": "0.5"}, "rollout_pause_share must be a number or None, got '0.5'"),
        (
            {"rollout_budget_tokens": 4, "rollout_pool_groups": 4.5},
            "rollout_pool_groups must be a whole number or None, got 4.5",
        ),
        (
            {"rollout_budget_tokens": 4, "max_rollout_segments": 1.5},
            "max_rollout_segments must be a whole number or None, got 1.5",
        ),
        ({"repetition_max_period": 2.5}, "repetition_max_period must be a whole number or None, got 2.5"),
        (
            {"rollout_budget_tokens": 4, "use_vllm": True, "vllm_tensor_parallel_size": 2, "vllm_mode": "colocate"},
            "vllm_tensor_parallel_size=2 shares an engine among processes",
        ),
        (
            {"repetition_penalty_weight": 1.0},
            "repetition_penalty_weight=1.0 has no effect without a rule for repetitions",
        ),
        ({"repetition_max_period": 2, "repetition_min_period": 3}, "1 <= min_period <= max_period"),
        (
            {"rollout_pause_share": 0.5, "use_vllm": True, "vllm_mode": "server"},
            "which a server is not; set rollout_b",
        ),
        ({"importance_weight_cap": 2.0}, "gives the engine's log-probabilities only with the rollout"),
    ],
)
def test_impossible_settings_are_refused_with_their_cure(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        tiny.trainer(tmp_path, **changes)


def test_importance_weights_correct_older_segments(tmp_path):
    trainer, listener = trained(tmp_path, rollout_budget_tokens=3, importance_weight_cap=2.0, max_steps=14)
    assert any(len(each["segments"]) > 1 for each in listener.rollouts)
    assert max(tiny.logs(trainer, "k15/rollout_logp_gap_max")) < 1e-5
    assert max(tiny.logs(trainer, "k15/old_segments_logp_gap_mean")) > 1e-3


def test_an_error_amid_a_segment_leaves_generate_as_it_was(tmp_path):
    trainer, _ = build(tmp_path, rollout_budget_tokens=3)

    def run_out_of_memory(*_):
        raise MemoryError("for the test")

    trainer.model.register_forward_hook(run_out_of_memory)
    with pytest.raises(MemoryError, match="for the test"):
        trainer.train()
    assert "generate" not in vars(trainer.model)


def test_a_prompt_is_read_and_tokenized_once_an_iteration(tmp_path, monkeypatch):
    read, tokenized = [], []

    trainer, listener = build(tmp_path, rollout_budget_tokens=5, max_steps=6)
    data, plain = trainer.train_dataset, GRPOTrainer._tokenize_prompts

    def tokenize(self, prompts):
        tokenized.extend((self._now.number, prompt) for prompt in prompts)
        return plain(self, prompts)

    def read_row(self, row):
        read.append((trainer.iteration, row))
        return plain_row(self, row)

    plain_row = type(data).__getitem__
    monkeypatch.setattr(GRPOTrainer, "_tokenize_prompts", tokenize)
    monkeypatch.setattr(type(data), "__getitem__", read_row)
    trainer.train()
    rows = [each for each in read if isinstance(each[1], int)]
    assert len(rows) == len(set(rows)) > 0
    assert len(tokenized) == len(set(tokenized)) > 0
    assert {each["iteration"] for each in listener.rollouts} == {0, 1, 2}
