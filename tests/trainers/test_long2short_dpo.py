"""Long2short DPO on tiny real models: what is trained on, what is refused, what is logged."""

import copy
import math

import pytest
import tiny
import torch
from datasets import Dataset
from trainers.test_vision import vision_pieces
from trl import DPOConfig, DPOTrainer

from k15_plugins import ExactMatchReward
from k15_plugins.long2short.pairs import preference_pairs
from k15_plugins.samples import Sample, SampledProblem
from k15_plugins.trainers.long2short_dpo import Long2ShortDPOConfig, Long2ShortDPOTrainer


def pairs(size=8):
    """Pairs whose rejected responses alternate between cut off ones and ones that ended."""
    tokenizer = tiny.tiny_tokenizer()
    eos = tokenizer.eos_token_id
    problems = []
    for number, row in enumerate(tiny.problems(size)):
        short = [20 + number, 5, eos]
        long = [30, 31, 32 + number, 33, 34, 35] + ([] if number % 2 else [eos])
        samples = [
            Sample(tokenizer.decode(short[:-1]), short, right=True),
            Sample(tokenizer.decode(long), long, right=number % 2 == 0, truncated=number % 2 == 1),
        ]
        problems.append(SampledProblem(number, row["prompt"], tokenizer(row["prompt"])["input_ids"], samples))
    return preference_pairs(problems)


def trainer(folder, rows=None, **changes):
    names = ("held_out", "reward_func", "peft_config", "model", "train_dataset", "processing_class")
    own = {name: changes.pop(name) for name in names if name in changes}
    args = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "max_steps": 6,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
    }
    return Long2ShortDPOTrainer(
        own.pop("model", None) or tiny.model(),
        Long2ShortDPOConfig(**args | changes),
        **{
            "train_dataset": Dataset.from_list(pairs() if rows is None else rows),
            "processing_class": tiny.tiny_tokenizer(),
        }
        | own,
    )


def logged(of, name):
    return [line[name] for line in of.state.log_history if name in line]


def test_pairs_are_trained_on_as_they_were_sampled(tmp_path):
    rows = pairs()
    batches = list(trainer(tmp_path, max_steps=-1, num_train_epochs=1).get_train_dataloader())
    seen = []
    for batch in batches:
        for ids, mask, attention in zip(
            batch["input_ids"], batch["completion_mask"], batch["attention_mask"], strict=True
        ):
            seen.append((ids[(mask == 0) & (attention == 1)].tolist(), ids[mask == 1].tolist()))
    wanted = [(row["prompt_ids"], row[side]) for row in rows for side in ("chosen_ids", "rejected_ids")]
    assert sorted(seen) == sorted(wanted)
    eos = tiny.tiny_tokenizer().eos_token_id
    assert sum(ids[-1] != eos for _, ids in seen) == 4  # the responses that were cut off


def test_the_loss_is_dpos_on_these_tokens(tmp_path):
    one = trainer(tmp_path, beta=0.3)
    policy = one.model
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    batch = next(iter(one.get_train_dataloader()))
    found = one.compute_loss(policy, batch).item()

    def logp(model, ids, mask):
        logps = model(ids.unsqueeze(0)).logits[0, :-1].log_softmax(dim=-1)
        taken = logps.gather(1, ids[1:, None]).squeeze(1)
        return (taken * mask[1:]).sum()

    losses = []
    reference = tiny.model()
    for place in range(4):
        ratios = []
        for row in (place, place + 4):
            length = int(batch["attention_mask"][row].sum())
            ids, mask = batch["input_ids"][row][:length], batch["completion_mask"][row][:length]
            with torch.no_grad():
                ratios.append(logp(policy, ids, mask) - logp(reference, ids, mask))
        losses.append(-torch.nn.functional.logsigmoid(0.3 * (ratios[0] - ratios[1])))
    assert found == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


LOSS_TYPES = ["sigmoid", "sigmoid_norm", "ipo", "hinge", "exo_pair", "robust", "nca_pair", "apo_zero"]


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_the_margin_grows(loss_type, tmp_path):
    smoothing = {"label_smoothing": 0.1} if loss_type in ("robust", "exo_pair") else {}
    one = trainer(tmp_path, loss_type=[loss_type], **smoothing)
    one.train()
    margins = logged(one, "rewards/margins")
    assert margins[-1] > margins[0] + 0.05
    assert set(logged(one, "k15/wrong_share")) == set(logged(one, "k15/long_share")) == {0.5}
    gaps = logged(one, "k15/length_gap")
    assert sum(gaps[:2]) / 2 == pytest.approx(3.5)  # 6 - 3 and 7 - 3, an epoch is two updates


def test_precomputed_reference_log_probs_give_the_same(tmp_path):
    plain, precomputed = trainer(tmp_path / "a"), trainer(tmp_path / "b", precompute_ref_log_probs=True)
    for one in (plain, precomputed):
        one.train()
    assert logged(precomputed, "loss") == pytest.approx(logged(plain, "loss"), rel=1e-4)


def test_with_peft(tmp_path):
    from peft import LoraConfig

    one = trainer(tmp_path, peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    before = copy.deepcopy(one.model.get_base_model().model.embed_tokens.weight)
    one.train()
    assert logged(one, "rewards/margins")[-1] > 0.05
    assert torch.equal(one.model.get_base_model().model.embed_tokens.weight, before)


def test_the_reference_of_adapters_is_the_model_as_it_was_given(tmp_path):
    from peft import LoraConfig, get_peft_model

    def with_adapter(make):
        torch.manual_seed(0)
        model = make(tiny.model(), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, value in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(value, std=0.3)
        return model

    def inject(model, config):
        model.add_adapter(config)
        return model

    for name, make in (("peft", get_peft_model), ("transformers", inject)):
        one = trainer(tmp_path / name, model=with_adapter(make))
        one.train()
        # Nothing has been learned in the first update: both log-ratios are 0.
        assert logged(one, "loss")[0] == pytest.approx(math.log(2), abs=1e-5), name
        assert logged(one, "rewards/margins")[-1] > 0.02, name


def test_with_images(tmp_path):
    from PIL import Image

    model, processor = vision_pieces()
    image = Image.new("RGB", (8, 8), "red")
    rows = Dataset.from_list(
        [
            {
                "images": [image],
                "prompt": [{"role": "user", "content": f"{number} + 1"}],
                "chosen": [{"role": "assistant", "content": "4 is 5"}],
                "rejected": [{"role": "assistant", "content": "4 is 5 wait , check 4 is 5"}],
                "kind": "long",
            }
            for number in range(8)
        ]
    )
    args = {"max_steps": 3, "logging_steps": 1, "save_strategy": "no", "report_to": "none", "bf16": False}
    common = {"output_dir": str(tmp_path), "per_device_train_batch_size": 4, "learning_rate": 1e-3, "use_cpu": True}
    one = Long2ShortDPOTrainer(
        model, Long2ShortDPOConfig(**args, **common), train_dataset=rows, processing_class=processor
    )
    one.train()
    assert logged(one, "k15/length_gap") == [6.0] * 3
    assert logged(one, "rewards/margins")[-1] > 0
    with pytest.raises(ValueError, match="max_length=512 cannot be checked before training on images"):
        Long2ShortDPOTrainer(
            model,
            Long2ShortDPOConfig(**args, **common, max_length=512),
            train_dataset=rows,
            processing_class=processor,
        )


def test_nothing_is_cut_silently(tmp_path):
    rows = pairs()
    longest = max(len(row["prompt_ids"]) + len(row["rejected_ids"]) for row in rows)
    over = sum(len(row["prompt_ids"]) + len(row["rejected_ids"]) == longest for row in rows)
    assert trainer(tmp_path, max_length=longest).args.max_length == longest
    message = f"max_length={longest - 1} would cut {over} of 8 pairs of the train data set, the longest of {longest}"
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, max_length=longest - 1)
    text = [{"prompt": row["prompt"], "chosen": " 4 is 5", "rejected": " 4 is 5 ok . answer 5"} for row in rows]
    with pytest.raises(ValueError, match=r"max_length=3 would cut 8 of 8 pairs"):
        trainer(tmp_path, rows=text, max_length=3)
    assert Long2ShortDPOConfig(str(tmp_path), bf16=False).max_length is None


def test_the_policy_itself_is_measured_while_it_trains(tmp_path):
    options = {"held_out_steps": 2, "held_out_max_new_tokens": 12}
    one = trainer(tmp_path / "a", held_out=tiny.problems(10), reward_func=tiny.odd_start, **options)
    one.train()
    lines = [line for line in one.state.log_history if "eval_k15/accuracy" in line]
    assert [line["step"] for line in lines] == [0, 2, 4, 6]
    assert all(0 <= line["eval_k15/accuracy"] <= 1 for line in lines)
    assert all(1 <= line["eval_completions/mean_length"] <= 12 for line in lines)
    assert all("loss" not in line and "rewards/margins" not in line for line in lines)
    # Measuring leaves the training as it is.
    other = trainer(tmp_path / "b")
    other.train()
    assert logged(one, "loss") == logged(other, "loss")
    assert logged(one, "rewards/margins") == logged(other, "rewards/margins")


def test_held_out_problems_need_a_verdict_and_no_images(tmp_path):
    with pytest.raises(ValueError, match="held_out needs a reward_func"):
        trainer(tmp_path, held_out=tiny.problems(10))
    with_images = tiny.problems(2).add_column("image", [None, None])
    with pytest.raises(ValueError, match="held_out has images"):
        trainer(tmp_path, held_out=with_images, reward_func=tiny.odd_start)


def test_what_is_used_of_trl():
    import inspect

    names = list(inspect.signature(DPOTrainer._prepare_dataset).parameters)
    assert names == ["self", "dataset", "processing_class", "args", "dataset_name"], (
        "DPOTrainer._prepare_dataset moved"
    )
    names = list(inspect.signature(DPOTrainer._compute_loss).parameters)
    assert names == ["self", "model", "inputs", "return_outputs"], "DPOTrainer._compute_loss moved"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train_dataset": None}, r"train_dataset must be a Dataset of pairs, got None; give Dataset.from_list\(pref"),
        ({"train_dataset": pairs()}, "train_dataset must be a Dataset of pairs, got "),
        ({"train_dataset": Dataset.from_list([])}, "train_dataset must hold at least one pair, got none; sample more"),
        ({"train_dataset": tiny.problems()}, "must have the columns chosen and rejected, got prompt, answer"),
        ({"model": "./no/such/model"}, "and there is no such folder"),
        ({"processing_class": None}, "give the tokenizer as processing_class"),
        ({"held_out": tiny.problems().select([]), "reward_func": tiny.odd_start}, "held_out must hold problems"),
        ({"held_out": tiny.problems().remove_columns("prompt"), "reward_func": tiny.odd_start}, "a column prompt"),
        ({"learning_rate": "1e-5"}, "learning_rate must be a number, got '1e-5'"),
        ({"max_steps": 0}, "max_steps must be 1 or more updates"),
        ({"max_steps": -5}, "max_steps must be 1 or more updates"),
        ({"max_steps": -1, "num_train_epochs": 0}, "num_train_epochs must be above 0, got 0"),
        ({"beta": 0.0}, "beta must be above 0, got 0, where DPO learns nothing"),
        ({"model": 5}, "model must be a model, or the name or folder of one, got 5"),
        ({"processing_class": "gpt2"}, "processing_class must be a tokenizer or a processor, got 'gpt2'"),
        ({"eval_strategy": "steps", "eval_steps": 1}, "eval_strategy=steps needs an eval_dataset"),
        ({"held_out_steps": 2}, "held_out_steps=2 has no effect without held_out; give held_out, or leave it out"),
        ({"reward_func": tiny.odd_start}, "reward_func=.* has no effect without held_out"),
        ({"held_out": [{"prompt": "a"}], "reward_func": tiny.odd_start}, "held_out must be a Dataset, got a list"),
        ({"held_out": tiny.problems(), "reward_func": dict}, "must hold functions or objects, got the class dict"),
        (
            {"held_out": tiny.problems().remove_columns("answer"), "reward_func": ExactMatchReward()},
            "needs answer, which no column of held_out gives",
        ),
        (
            {"train_dataset": Dataset.from_list([{"prompt": "a", "chosen": None, "rejected": "b"}])},
            "must have a chosen response in every row, got 1 without",
        ),
        (
            {"train_dataset": Dataset.from_list([{**pairs()[0], "chosen_ids": []}])},
            "must have tokens in every row of chosen_ids, got 1 without",
        ),
        (
            {"train_dataset": Dataset.from_list([{**pairs()[0], "rejected_ids": [5, 500]}])},
            "rejected_ids of train_dataset must be tokens of the model, from 0 to [0-9]+, got 500; give pairs",
        ),
        (
            {"train_dataset": Dataset.from_list([{**pairs()[0], "prompt_ids": [-1, 5]}])},
            "prompt_ids of train_dataset must be tokens of the model, from 0 to [0-9]+, got -1; give pairs",
        ),
        ({"beta": float("nan")}, "beta must be a finite number, got nan"),
        ({"held_out_max_new_tokens": 0}, "held_out_max_new_tokens must be a whole number from 1, got 0"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_a_model_is_loaded(tmp_path, given, message, monkeypatch):
    monkeypatch.setattr("trl.DPOTrainer.__init__", lambda *_, **__: pytest.fail("TRL was reached"))
    with pytest.raises(ValueError, match=message) as error:
        trainer(tmp_path, **given)
    assert "\n" not in str(error.value)


def test_another_kind_of_arguments_and_a_file_as_output_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match="args must be a Long2ShortDPOConfig, got DPOConfig"):
        Long2ShortDPOTrainer(tiny.model(), DPOConfig(str(tmp_path), bf16=False))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"output_dir=.*file must be a folder"):
        trainer(tmp_path / "file")


def test_a_model_by_its_name_is_trained_against_itself(tmp_path):
    tiny.model().save_pretrained(tmp_path / "model")
    by_name = trainer(tmp_path, model=str(tmp_path / "model"), max_steps=2)
    by_name.train()
    given = trainer(tmp_path, max_steps=2)
    given.train()
    assert logged(by_name, "loss") == pytest.approx(logged(given, "loss"), rel=1e-5)
