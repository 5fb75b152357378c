"""What TRL's users find in a stock trainer they find in ours: logs, callbacks, tables, results, for one script."""

import inspect

import pandas as pd
import pytest
import tiny
import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from k15_plugins import MirrorDescentTrainer

EVALUATION = {"eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 4, "num_generations_eval": 2}
BEST = {
    "save_strategy": "steps", "save_steps": 2, "load_best_model_at_end": True, "metric_for_best_model": "eval_reward",
    "greater_is_better": True, "save_total_limit": 2,
}  # fmt: skip
# Of GRPO's own loss, which has no ratio that is clipped here.
OF_GRPOS_LOSS = "clip_ratio/"
OURS = ("k15/", "sampler/", "eval_k15/")


class Diary(TrainerCallback):
    """Notes every event with its step, and the keys of each log."""

    def __init__(self):
        self.events = []


def _note(name):
    def note(self, args, state, control, **given):
        self.events.append((name, state.global_step, state.epoch))

    return note


for event, _ in inspect.getmembers(TrainerCallback, inspect.isfunction):
    if event.startswith("on_"):
        setattr(Diary, event, _note(event))


def first_odd(completion_ids, log_extra, log_metric, **_):
    rewards = tiny.odd_start(completion_ids)
    log_extra("first_token", [ids[0] for ids in completion_ids])
    log_metric("first_odd_share", sum(rewards) / len(rewards))
    return rewards


async def short(completion_ids, **_):
    return [float(len(ids) < 8) for ids in completion_ids]


def trained(trainer_class, folder, model=None, **changes):
    diary = Diary()
    given = {
        "model": model() if model else tiny.model(),
        "reward_funcs": [first_odd, short],
        "eval_dataset": tiny.problems(4) if "eval_strategy" in changes else None,
        "callbacks": [diary],
    }
    if trainer_class is MirrorDescentTrainer:
        trainer = tiny.trainer(folder, **given, **changes)
    else:
        arguments = tiny.arguments(folder, disable_dropout=True, **changes)
        window = arguments.pop("updates_per_iteration") * arguments.get("gradient_accumulation_steps", 1)
        trainer = trainer_class(
            args=GRPOConfig(steps_per_generation=window, **arguments),
            train_dataset=tiny.problems(),
            processing_class=tiny.tiny_tokenizer(),
            **given,
        )
    return trainer, diary, trainer.train()


def keys(entry):
    """The keys of a log that both trainers should have."""
    return {name for name in entry if OF_GRPOS_LOSS not in name and not name.startswith(OURS)}


@pytest.mark.parametrize(
    "changes",
    [
        {"logging_steps": 1},
        {"logging_steps": 2},
        {"logging_steps": 3},
        {"logging_steps": 4, "logging_first_step": True},
        {"logging_strategy": "no"},
        {"logging_strategy": "epoch", "max_steps": -1, "num_train_epochs": 1},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4, "max_steps": 4},
        {"logging_steps": 2, "max_steps": 4, **EVALUATION, "eval_on_start": True},
        {"logging_steps": 2, "max_steps": 4, **EVALUATION, **BEST},
    ],
    ids=lambda changes: ",".join(map(str, changes.values())),
)
def test_logs_events_and_result_are_those_of_the_stock_trainer(tmp_path, changes):
    stock, stock_diary, stock_result = trained(GRPOTrainer, tmp_path / "stock", **changes)
    ours, diary, result = trained(MirrorDescentTrainer, tmp_path / "ours", **changes)
    for theirs, entry in zip(stock.state.log_history, ours.state.log_history, strict=True):
        assert entry["step"] == theirs["step"]
        assert keys(entry) == keys(theirs)
        assert {name for name in keys(entry) if entry[name] is None} == set()
    assert diary.events == stock_diary.events
    assert keys(result.metrics) == keys(stock_result.metrics)
    assert (result.global_step, type(result)) == (stock_result.global_step, type(stock_result))
    for name in ("global_step", "max_steps", "num_train_epochs", "epoch", "logging_steps", "eval_steps", "save_steps"):
        assert getattr(ours.state, name) == getattr(stock.state, name), name
    if "load_best_model_at_end" in changes:
        rewards = [(entry["eval_reward"], entry["step"]) for entry in ours.state.log_history if "eval_reward" in entry]
        best = max(rewards, key=lambda each: each[0])
        assert ours.state.best_metric == best[0]
        assert ours.state.best_model_checkpoint == str(tmp_path / "ours" / f"checkpoint-{best[1]}")


def test_each_of_our_own_metrics_is_in_the_log_of_each_iteration(tmp_path):
    trainer, _, _ = trained(MirrorDescentTrainer, tmp_path)
    first = {name for name in trainer.state.log_history[0] if name.startswith(OURS)}
    second = {name for name in trainer.state.log_history[1] if name.startswith(OURS)}
    assert second < first  # the rollouts' metrics come with the rollouts, those of the loss with each update
    for entry, expected in zip(trainer.state.log_history, [first, second] * 3, strict=False):
        assert {name for name in entry if name.startswith(OURS)} == expected


def test_the_table_of_completions_is_the_stock_trainers(tmp_path):
    tables = []
    for trainer_class in (GRPOTrainer, MirrorDescentTrainer):
        folder = tmp_path / trainer_class.__name__
        trained(trainer_class, folder, max_steps=2, logging_steps=2, log_completions=True)
        tables.append(pd.read_parquet(folder / "completions" / "completions_00002.parquet"))
    stock, ours = tables
    assert list(ours.columns) == list(stock.columns)
    assert "first_token" in ours.columns
    assert len(ours) == len(stock) == 16
    assert ((ours["first_token"] % 2) == ours["first_odd"]).all()
    total = torch.tensor((ours["first_odd"] + ours["short"]).to_numpy())
    expected = total - total.view(4, 4).mean(dim=1).repeat_interleave(4)
    torch.testing.assert_close(
        torch.tensor(ours["advantage"].to_numpy()), expected, atol=1e-6, rtol=0, check_dtype=False
    )


def test_evaluate_and_predict_by_themselves(tmp_path):
    stock, _, _ = trained(GRPOTrainer, tmp_path / "stock", max_steps=2, **EVALUATION)
    ours, _, _ = trained(MirrorDescentTrainer, tmp_path / "ours", max_steps=2, **EVALUATION)
    assert keys(ours.evaluate()) == keys(stock.evaluate())
    assert keys(ours.predict(tiny.problems(4)).metrics) == keys(stock.predict(tiny.problems(4)).metrics)


def mixture():
    tokenizer = tiny.tiny_tokenizer()
    torch.manual_seed(0)
    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            moe_intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            num_experts=4,
            num_experts_per_tok=2,
            max_position_embeddings=128,
            router_aux_loss_coef=0.1,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def test_the_loss_that_balances_experts_is_logged_as_the_stock_trainer_logs_it(tmp_path):
    balance = []
    for trainer_class in (GRPOTrainer, MirrorDescentTrainer):
        # With one rollout batch and without training both see the same responses, as their seeds are one.
        trainer, _, _ = trained(
            trainer_class, tmp_path / trainer_class.__name__, model=mixture, max_steps=2, learning_rate=0.0,
            eval_strategy="steps", eval_steps=2, per_device_eval_batch_size=4,
        )  # fmt: skip
        balance.append(tiny.logs(trainer, "aux_loss"))
        assert len(tiny.logs(trainer, "eval_aux_loss")) == 1
    stock, ours = balance
    assert len(ours) == len(stock) == 2
    # Of 2 layers with 2 of 4 experts for a token; 2 is perfect balance.
    assert all(1.5 < value < 4 for value in [*ours, *stock])
