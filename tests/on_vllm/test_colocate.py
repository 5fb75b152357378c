"""vLLM in the trainer's process: exact weights, exact stops, the same sampling."""

import os

import pieces
import pytest
import tiny
import torch
from peft import LoraConfig

from k15_plugins import MirrorDescentConfig, PrioritizedSampler
from k15_plugins.generation.engines import prepare_vllm
from k15_plugins.generation.segments import SegmentRequest
from k15_plugins.generation.vllm_steps import generate_with_vllm_in_steps
from k15_plugins.rollouts import RepetitionRule, first_repetition

GREEDY = {"temperature": 0.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return pieces.save_model(tmp_path_factory.mktemp("model"))


def trained(folder, model, **changes):
    trainer, listener = pieces.build(folder, model, **changes)
    trainer.train()
    return trainer, listener


def assert_synchronised(trainer):
    gaps = tiny.logs(trainer, "k15/rollout_logp_gap_max")
    assert len(gaps) >= 3
    assert max(gaps) <= 1e-5
    assert max(tiny.logs(trainer, "k15/rho_abs_max")) > 1e-2  # the weights did change


@pytest.mark.parametrize("kind", ["untied", "tied", "lora"])
def test_the_engine_has_the_trainers_weights_after_every_update(tmp_path, kind):
    flat = {"tied": True, "scale": 1.0, "ends": 1.0} if kind == "tied" else {}
    folder = pieces.save_model(tmp_path / "model", **flat)
    changes = {"peft_config": LoraConfig(r=4, target_modules="all-linear"), "learning_rate": 1e-2}
    trainer, _ = trained(tmp_path, folder, max_steps=8, **(changes if kind == "lora" else {}))
    assert_synchronised(trainer)


def test_runs_that_begin_at_the_same_time_do_not_take_the_same_port(tmp_path, model, monkeypatch):
    ports = set()
    for run in ("one", "other"):
        monkeypatch.delenv("MASTER_PORT", raising=False)
        prepare_vllm(model, MirrorDescentConfig(str(tmp_path / run), use_vllm=True, vllm_mode="colocate", bf16=False))
        ports.add(os.environ["MASTER_PORT"])
    assert len(ports) == 2


def rows_at_once(trainer):
    config = trainer.vllm_generation.llm.llm_engine.vllm_config
    assert torch.accelerator.is_available() or config.model_config.enforce_eager  # compiling costs a minute
    return config.scheduler_config.max_num_seqs


def test_an_engine_has_room_for_all_rollouts_in_flight(tmp_path, model):
    batch = 16
    budget = {"rollout_budget_tokens": 4, "max_completion_length": 12}
    for changes, batches in [(budget, 3), (budget | {"rollout_pool_groups": 6}, 2), ({}, 1)]:
        assert rows_at_once(pieces.build(tmp_path, model, **changes)[0]) == batches * batch


def test_a_stale_engine_shows_in_the_gap_and_is_warned_of(tmp_path, model, monkeypatch):
    trainer, _ = pieces.build(tmp_path, model, max_steps=8, learning_rate=1e-2)
    trainer.vllm_generation.sync_weights = lambda: None
    with pytest.warns(UserWarning, match="weights that did not reach the engine"):
        trainer.train()
    assert max(tiny.logs(trainer, "k15/rollout_logp_gap_max")) > 1e-2


def test_partial_rollouts_resume_with_the_weights_of_the_checkpoint(tmp_path, model):
    def build(folder):
        # More groups in flight than an iteration trains on: some go on in the next one, however long they get.
        settings = {"rollout_budget_tokens": 4, "rollout_pool_groups": 10, "max_steps": 8}
        settings |= {"save_strategy": "steps", "save_steps": 2}
        return pieces.build(folder, model, sampler=PrioritizedSampler(12, seed=2), **settings)

    trainer, listener = build(tmp_path)
    trainer.train()
    assert_synchronised(trainer)
    assert any(len(each["segments"]) > 1 for each in listener.rollouts)
    assert max(tiny.logs(trainer, "k15/old_segments_logp_gap_mean")) > 1e-4
    state = torch.load(tmp_path / "checkpoint-4" / "k15_state_0.pt", weights_only=False)
    assert len(state["partial_rollouts"]["buffer"]["ids"]) > 0
    again, rest = build(tmp_path)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert max(tiny.logs(again, "k15/rollout_logp_gap_max")) <= 1e-5
    before = sum(iteration < 2 for each in rest.rollouts for iteration, _ in each["segments"])
    assert before > 0  # rollouts of the killed run have gone on


def test_a_greedy_rollout_in_segments_equals_the_rollout_in_one_piece(tmp_path, model):
    frozen = {"learning_rate": 0.0, "generation_kwargs": GREEDY, "max_steps": 16}
    _, whole = trained(tmp_path, model, **frozen)
    trainer, pieces_ = trained(tmp_path, model, **frozen, rollout_budget_tokens=3)
    rounds = tiny.logs(trainer, "rollouts/rounds")
    expected = {each["problem"]: each["response"] for each in whole.rollouts}
    assert len({*expected.values()}) > 4
    assert max(len(each["segments"]) for each in pieces_.rollouts) > 3
    assert any(each["stop"] == "eos" for each in pieces_.rollouts)
    for each in pieces_.rollouts:
        assert each["response"] == expected[each["problem"]]
        assert all(tokens <= 3 * rounds[iteration] for iteration, tokens in each["segments"])
    assert rounds.count(1) > 2


def test_segments_have_the_log_probabilities_of_the_whole_response(tmp_path, model):
    in_flight = {"rollout_budget_tokens": 5, "rollout_pool_groups": 10, "max_steps": 16}
    trainer, listener = trained(tmp_path, model, learning_rate=0.0, **in_flight)
    assert max(len(each["segments"]) for each in listener.rollouts) > 1
    assert max(tiny.logs(trainer, "k15/rollout_logp_gap_max")) <= 1e-5
    assert max(tiny.logs(trainer, "k15/old_segments_logp_gap_mean")) <= 1e-5


def test_stops_of_the_engines_own_end_a_response(tmp_path, model):
    greedy = {"generation_kwargs": {**GREEDY, "stop_token_ids": list(range(5, 20))}, "learning_rate": 0.0}
    _, whole = trained(tmp_path, model, **greedy, max_steps=4)
    _, pieces_ = trained(tmp_path, model, **greedy, max_steps=4, rollout_budget_tokens=5, fail_truncated=False)
    expected = {each["problem"]: each["response"] for each in whole.rollouts}
    assert any(each["stop"] == "length" and each["tokens"] < 16 for each in pieces_.rollouts)
    for each in pieces_.rollouts:
        assert each["response"] == expected.get(each["problem"], each["response"])


def request(trainer, number, allowance, **changes):
    prompts = [trainer.processing_class(f"{place} + 1 =")["input_ids"] for place in range(number)]
    wanted = {
        "prompt_ids": prompts,
        "started": [torch.zeros(0, dtype=torch.int32).numpy()] * number,
        "images": None,
        "multimodal_fields": {},
        "allowances": [allowance] * number,
        "must_end": [False] * number,
        "ends_at_allowance": [False] * number,
        "pause_after": None,
        "repetition": None,
    }
    return SegmentRequest(**wanted | changes)


def segments(trainer, wanted):
    from trl import GRPOTrainer

    def single_turn(*args):
        return GRPOTrainer._generate_single_turn(trainer, *args)

    return generate_with_vllm_in_steps(trainer, single_turn, wanted)


def test_the_engine_stops_at_each_limit_pauses_and_forgets_what_it_left(tmp_path, model):
    trainer, _ = pieces.build(tmp_path, model)
    eos = trainer.eos_token_ids[0]
    engine = trainer.vllm_generation.llm.llm_engine

    own = segments(trainer, request(trainer, 6, 1, allowances=[1, 2, 3, 4, 5, 6]))
    assert all(len(each.ids) == limit or each.ids[-1] == eos for limit, each in enumerate(own, start=1))

    must = [place == 0 for place in range(24)]
    paused = segments(trainer, request(trainer, 24, 64, pause_after=6, must_end=must))
    ended = [each.ids[-1:] == [eos] for each in paused]
    assert 6 <= sum(ended) < 24
    assert all(len(each.ids) == len(each.logps) < 64 for each, has in zip(paused, ended, strict=True) if not has)
    assert ended[0] or len(paused[0].ids) == 64
    assert engine.get_num_unfinished_requests() == 0


def test_a_repetition_is_stopped_at_its_token_also_across_a_pause(tmp_path, model):
    trainer, _ = pieces.build(tmp_path, model, generation_kwargs=GREEDY)
    rule = RepetitionRule(max_period=6, min_count=2)
    whole = segments(trainer, request(trainer, 12, 64))
    wanted = [first_repetition(each.ids, rule) for each in whole]
    assert sum(stop is not None for stop in wanted) > 3
    stopped = segments(trainer, request(trainer, 12, 64, repetition=rule))
    first = segments(trainer, request(trainer, 12, 5, repetition=rule))
    started = [torch.tensor(each.ids, dtype=torch.int32).numpy() for each in first]
    then = segments(trainer, request(trainer, 12, 59, repetition=rule, started=started))
    for each, stop, one, begun, rest in zip(whole, wanted, stopped, first, then, strict=True):
        assert one.ids == each.ids[:stop]
        if len(begun.ids) == 5 and stop != 5:
            assert [*begun.ids, *rest.ids] == each.ids[:stop]


def test_importance_weights_and_several_updates_take_the_engines_log_probabilities(tmp_path, model):
    trainer, _ = trained(
        tmp_path,
        model,
        updates_per_iteration=4,
        per_device_train_batch_size=4,
        importance_weight_cap=2.0,
        log_ratio_interval=[-0.5, 0.5],
        penalty_level="token",
        rollout_budget_tokens=6,
    )
    largest = tiny.logs(trainer, "k15/rho_abs_max")
    assert largest[0] < 1e-5 < max(largest[1:4])
    assert max(tiny.logs(trainer, "k15/rollout_logp_gap_max")) <= 1e-5
