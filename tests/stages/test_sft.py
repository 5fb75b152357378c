"""Vanilla SFT: what a run leaves, that packed rows do not see each other, the paper's rates, what is refused."""

import json
import math
import shutil
from collections import Counter
from itertools import pairwise
from unittest import mock

import pytest
import torch
from runs.test_conf import compose
from transformers import AutoModelForCausalLM, AutoTokenizer

from k15_plugins import models
from k15_plugins.files.jsonl import append_lines, read_lines
from k15_plugins.models import document_attention
from k15_plugins.runs.figures import known_figures
from k15_plugins.stages import sft as stage
from k15_plugins.stages.sft import sft
from k15_plugins.stages.train import train
from k15_plugins.trainers.checkpoint import MANIFEST

# The embedded recipe on files of 60 sums, two packed rows an update.
SMALL = ("+stage.args.use_cpu=true", "stage.args.per_device_train_batch_size=2", "stage.args.max_length=64")
EMPTY = ("stage.sources.long_context=null",)


def go(run_dir, *words, recipe="sft"):
    config = compose(f"+recipe={recipe}", *SMALL, *EMPTY, *words)
    run_dir.mkdir(exist_ok=True)
    sft(config, run_dir, **{key: value for key, value in config["stage"].items() if key != "_target_"})
    return config


def sums(number, votes=None):
    """Rows of different lengths; of those with votes, each third has too few."""
    rows = []
    for index in range(number):
        terms = [(index + step) % 10 for step in range(2 + index % 4)]
        row = {"prompt": f"{' + '.join(map(str, terms))} =", "completion": f" answer {sum(terms)}"}
        rows.append(row if votes is None else row | {"votes": votes(index)})
    return rows


def file(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def few(index):
    return [True] * 6 + [index % 10 != 3]  # all pass: 6 of 7 or 7 of 7


def fails_at_times(index):
    return [True] * 5 + [index % 10 != 3]  # one in ten does not: 5 of 6


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Words that give the files as sources."""
    folder = tmp_path_factory.mktemp("files")
    general = file(folder / "general.jsonl", sums(60, fails_at_times))
    math_file = file(folder / "math.jsonl", sums(30, few))
    return (f"stage.sources.general={general}", f"stage.sources.math={math_file}")


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft") / "run"
    said: list[str] = []
    with pytest.MonkeyPatch.context() as context:
        context.setattr(stage, "say", lambda text, *_: said.append(text))
        config = go(folder, *files, "stage.size=35")
    return folder, config, said


def test_a_run_leaves_a_model_figures_and_the_counts(run):
    folder, config, _ = run
    last = read_lines(folder / "metrics.jsonl")
    assert {key for line in last for key in line} <= set(known_figures(config))
    assert any(config["metric"] in line for line in last)
    counts = json.loads((folder / "mixture.json").read_text())
    assert counts == {
        "general": {"weight": 500, "rows": 60, "audited": 60, "dropped": 6, "taken": 25},
        "math": {"weight": 200, "rows": 30, "audited": 30, "dropped": 0, "taken": 10},
    }
    trained = AutoModelForCausalLM.from_pretrained(folder / "model").model.norm.weight
    assert not torch.equal(trained, models.tiny()[0].model.norm.weight)
    assert AutoTokenizer.from_pretrained(folder / "model").eos_token == "<eos>"


def test_what_fell_out_is_told_and_written_with_its_reason(run):
    folder, _, said = run
    lines = read_lines(folder / "dropped.jsonl")
    assert [line["place"].rpartition(", ")[2] for line in lines] == [f"line {10 * tens + 4}" for tens in range(6)]
    assert {line["reason"] for line in lines} == {"5 of 6 votes are for it, less than 0.85"}
    assert lines[0]["prompt"] == sums(4)[3]["prompt"]
    assert said[0] == "left out 6 of 60 audited rows of general, which had too few votes (dropped.jsonl)"


def test_the_mixture_and_the_batch_are_told_in_rows_and_tokens(run):
    _, _, said = run
    assert said[1] == "a mixture of 35 rows: general 25 of 54, math 10 of 30"
    # By hand: 8, 10, 12 or 14 tokens a row with the end, of which answers are 3.
    words, _, update = said[2].replace(",", "").partition("; ")
    assert update.startswith("an update is 2 packed rows ")
    assert update.endswith(" tokens on average 128 at most")
    packed, tokens, share = (int(word) for word in words.replace("%", "").split() if word.isdigit())
    assert share == round(100 * 35 * 3 / tokens)
    assert update.split()[6] == str(round(2 * tokens / packed))


def test_votes_need_not_be_looked_at(files, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "ResumableSFTTrainer", stop)
    with pytest.raises(Stop):
        go(tmp_path, *files, "stage.min_share=null")
    assert (tmp_path / "dropped.jsonl").read_text() == ""
    assert json.loads((tmp_path / "mixture.json").read_text())["general"]["dropped"] == 0


class Stop(Exception):
    """Ends a run where its trainer would be made."""


def stop(**given):
    raise Stop(given)


def test_no_row_is_lost_or_seen_by_another_in_packing(files, tmp_path, monkeypatch):
    """The loss of each packed batch is that of its rows alone, one by one."""
    made = []

    def keep(**given):
        made.append((stage_trainer(**given), given["train_dataset"]))
        raise Stop

    stage_trainer = stage.ResumableSFTTrainer
    monkeypatch.setattr(stage, "ResumableSFTTrainer", keep)
    with pytest.raises(Stop):
        go(tmp_path, *files, "stage.size=35")
    trainer, rows = made[0]
    alone, _ = models.tiny()
    labels = {tuple(row["input_ids"]): row["labels"] for row in rows}
    seen: Counter = Counter()
    for batch in trainer.get_train_dataloader():
        starts = [*(batch["position_ids"][0] == 0).nonzero().flatten().tolist(), batch["input_ids"].shape[1]]
        total = count = 0.0
        for begin, end in pairwise(starts):
            ids = batch["input_ids"][:, begin:end]
            seen[tuple(ids[0].tolist())] += 1
            logps = alone.eval()(ids, use_cache=False).logits.log_softmax(-1)[0, :-1]
            for place, label in enumerate(labels[tuple(ids[0].tolist())][1:]):
                if label != -100:
                    total, count = total - logps[place, label].item(), count + 1
        trainer.model.eval()
        with torch.no_grad():
            packed = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=None).item()
        assert len(starts) > 4
        assert packed == pytest.approx(total / count, abs=1e-5)
    assert seen == Counter(tuple(row["input_ids"]) for row in rows)


def test_packed_rows_are_trained_on_without_a_mask_of_all_pairs(files, tmp_path):
    attend = document_attention.scaled_dot_product_attention
    with mock.patch.object(document_attention, "scaled_dot_product_attention", wraps=attend) as packed:
        go(tmp_path / "packed", *files, "stage.size=35", "+stage.args.max_steps=1")
    assert packed.called
    with mock.patch.object(document_attention, "scaled_dot_product_attention", wraps=attend) as apart:
        go(tmp_path / "apart", *files, "stage.size=35", "stage.args.packing=false", "+stage.args.max_steps=1")
    assert not apart.called


# Name of the recipe, and the rates of the paper or of the article.
RATES = {"sft_32k": (2e-5, 2e-6), "sft_128k": (1e-5, 1e-6), "sft_seed": (1e-5, 1e-6)}
HERE = (
    *("model=tiny", "backend=accelerate", "stage.sources.code=null", "stage.sources.writing=null", "stage.size=60"),
    *("stage.args.gradient_accumulation_steps=1", "stage.args.bf16=false", "stage.args.gradient_checkpointing=false"),
    *("stage.args.save_strategy=no", "stage.args.warmup_steps=2"),
)


@pytest.mark.parametrize("recipe", RATES)
def test_the_rates_are_those_of_the_paper(recipe, files, tmp_path, monkeypatch):
    highest, lowest = RATES[recipe]
    trainers = []
    monkeypatch.setattr(stage, "train", lambda trainer, checkpoint: (trainers.append(trainer), train(trainer)))
    go(tmp_path, *files, *HERE, recipe=recipe)
    rates = [line["learning_rate"] for line in read_lines(tmp_path / "metrics.jsonl") if "learning_rate" in line]
    steps = len(rates)
    rates.append(trainers[0].lr_scheduler.get_last_lr()[0])
    cosine = [0.5 * (1 + math.cos(math.pi * step / (steps - 2))) for step in range(steps - 1)]
    assert steps == len(trainers[0].get_train_dataloader()) > 2
    expected = [0.0, highest / 2, *(lowest + (highest - lowest) * each for each in cosine)]
    assert rates == pytest.approx(expected, rel=1e-12, abs=0)
    assert (max(rates), rates[-1]) == (pytest.approx(highest, rel=1e-12), pytest.approx(lowest, rel=1e-12))


def test_the_recipes_have_the_numbers_of_the_paper():
    first, second, seed = (compose(f"+recipe={name}", "model.name=MODEL")["stage"] for name in RATES)
    for config, length in ((first, 32_768), (second, 131_072)):
        assert config["weights"] == {"general": 500, "code": 200, "math": 200, "writing": 5, "long_context": 20}
        assert config["args"]["max_length"] == length
        assert (config["args"]["packing"], config["args"]["num_train_epochs"]) == (True, 1)
        rows = 8 * config["args"]["per_device_train_batch_size"] * config["args"]["gradient_accumulation_steps"]
        assert rows * length == 2**20
    assert [name for name, source in seed["sources"].items() if source] == ["general", "code", "math"]
    assert 32 <= 8 * seed["args"]["gradient_accumulation_steps"] <= 128
    assert not seed["args"]["packing"]
    steps = compose("+recipe=sft_paper", "model.name=MODEL")["stage"]["steps"]
    assert [words[0] for words in steps.values()] == ["+recipe=sft_32k", "+recipe=sft_128k"]
    assert "model.name=@sft_32k/model" in steps["sft_128k"]
    assert all("stage.size=925000" in words for words in steps.values())


def test_a_run_that_was_killed_goes_on_as_if_nothing_had_happened(files, tmp_path):
    words = (*files, "stage.size=35", "stage.args.save_strategy=steps", "+stage.args.save_steps=2")
    words = (*words, "stage.args.per_device_train_batch_size=1")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    go(whole, *words)
    # Killed while it saved at update 4.
    shutil.copytree(whole, killed)
    shutil.rmtree(killed / "model")
    shutil.rmtree(killed / "checkpoints" / "checkpoint-6")
    manifest = killed / "checkpoints" / "checkpoint-4" / MANIFEST
    manifest.rename(manifest.with_name(f"{MANIFEST}.half"))
    append_lines(killed / "metrics.jsonl", [{"step": 9, "iteration": 0, "loss": 9.0}])
    go(killed, *words)
    first, second = (
        [(line["step"], line["loss"], line["learning_rate"]) for line in read_lines(place / "metrics.jsonl")[:-1]]
        for place in (whole, killed)
    )
    assert first == second
    assert [step for step, *_ in first] == [1, 2, 3, 4, 5, 6]
    # Updates 1 and 2 were not done again.
    assert read_lines(killed / "metrics.jsonl")[:2] == read_lines(whole / "metrics.jsonl")[:2]
    one, two = (AutoModelForCausalLM.from_pretrained(place / "model").state_dict() for place in (whole, killed))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["stage.args.packing_strategy=wrapped"],
            r"stage\.args\.packing_strategy must be bfd, .*, got wrapped; take bfd",
        ),
        (
            ["stage.args.packing=false", "+stage.args.padding_free=true"],
            r"stage\.args\.max_length must be null for rows without padding that are not packed, got 64; set null",
        ),
        (
            ["+stage.args.assistant_only_loss=true"],
            r"stage\.args\.assistant_only_loss must be left out, for rows come",
        ),
        (
            ["+stage.args.completion_only_loss=false"],
            r"stage\.args\.completion_only_loss must be left out, .* got Fal",
        ),
        (["+stage.args.eval_on_start=true"], "eval_on_start=True needs an eval_dataset, and there is none"),
        (["stage.args.max_length=null"], r"stage\.args\.max_length must be a number of tokens for packing, got null"),
        (
            ["stage.args.max_length=9"],
            r"\.jsonl, line \d+ must have at most max_length=9 tokens, got 1\d, as \d+ other",
        ),
        (
            ["stage.size=77"],
            "source general must have 55 rows for a mixture of 77, got 54; give it more, set size=76, or",
        ),
        (["stage.weights.math=-1"], r"weights\.math must be 0 or more, got -1; set 0"),
        (["stage.weights.math=0", "stage.weights.general=0"], "weights must be above 0 for a source that is there"),
        (["+stage.weights.maths=3"], r"weights\.maths must belong to a source, got 3 without one"),
        (["stage.sources.math=no.jsonl"], r"stage\.sources\.math must be a file that is there, got no\.jsonl; give"),
        (
            ["stage.sources.math=7"],
            r"stage\.sources\.math must be a path, a group of path, split, subset, a node or nul",
        ),
        (
            ["stage.sources.math={path: a, spilt: b}"],
            r"stage\.sources\.math must be a path, a group of path, split, s",
        ),
        (
            ["stage.min_share=0.95"],
            r"source general must pass with 0\.95 of its audited rows, got 54 of 60 \(0\.900\)",
        ),
        (["stage.min_share=0"], "min_share must be above 0 and at most 1, got 0; take 0.85"),
    ],
)
def test_bad_input_is_refused_before_a_model_is_loaded(files, tmp_path, monkeypatch, words, sentence):
    monkeypatch.setattr(models.load, "hub", stop)
    with pytest.raises(ValueError, match=sentence):
        go(tmp_path, *files, *words)


def test_bad_votes_and_context_parallelism_are_refused_too(files, tmp_path, monkeypatch):
    monkeypatch.setattr(models.load, "hub", stop)
    bad = file(tmp_path / "bad.jsonl", [sums(1)[0] | {"votes": []}])
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 1: votes must be a list of true and false, .*, got \[\]"):
        go(tmp_path / "run", *files, f"stage.sources.math={bad}")
    monkeypatch.setenv("PARALLELISM_CONFIG_CP_SIZE", "2")
    with pytest.raises(ValueError, match=r"stage\.args\.packing must be false with context parallelism"):
        go(tmp_path / "run", *files)


def test_the_embedded_recipe_has_rows_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "ResumableSFTTrainer", stop)
    config = compose("+recipe=sft", "+stage.args.use_cpu=true", "task.train_size=100", "task.held_out_size=0")
    with pytest.raises(Stop) as stopped:
        sft(config, tmp_path, **{key: value for key, value in config["stage"].items() if key != "_target_"})
    tokenizer = models.tiny()[1]
    rows = stopped.value.args[0]["train_dataset"]
    counts = {name: each["taken"] for name, each in json.loads((tmp_path / "mixture.json").read_text()).items()}
    assert counts == {"general": 100, "math": 40, "long_context": 4}
    texts = [tokenizer.decode([label for label in row["labels"] if label != -100]) for row in rows]
    assert sum("check" in text for text in texts) == 4
    assert sum(text.startswith("answer") or "is" in text for text in texts) == 44
    for row in rows:  # all of them are right
        text = tokenizer.decode(row["input_ids"])
        ask, _, answer = text.removeprefix("check ").removesuffix(" <eos>").partition(" =")
        assert eval(ask) == int(answer.split()[-1])
