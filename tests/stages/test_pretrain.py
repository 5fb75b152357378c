"""Phases of pretraining, in the process: what they train on, what is refused, and how a stopped run goes on."""

import json
import shutil
from itertools import pairwise
from unittest import mock

import pytest
import torch
from runs.test_conf import compose
from transformers import AutoModelForCausalLM, AutoTokenizer

from k15_plugins.evaluation.document_loss import document_loss
from k15_plugins.models import document_attention
from k15_plugins.stages.pretrain import pretrain
from k15_plugins.trainers.checkpoint import begin_checkpoint
from k15_plugins.trainers.packing import mix_tokens, partial_rows

NEW = {"vocab_size": 300, "hidden_size": 32, "layers": 1, "heads": 2}


def lines(start, number):
    return [f"{index} and then {index + 1} and {index * 7 % 13}." * 3 for index in range(start, start + number)]


def pages():
    return [" ".join(lines(start, 20)) for start in range(0, 400, 5)]


def source(name, **more):
    return {"documents": {"_target_": f"{__name__}.{name}"}, **more}


def short():
    return lines(0, 300)


def phase(length, tokens, weights, **more):
    args = {"_target_": "trl.SFTConfig", "per_device_train_batch_size": 4, "learning_rate": 3e-3, "logging_steps": 1}
    args |= {"bf16": False, "gradient_checkpointing": False, "report_to": "none", "use_cpu": True}
    return {"length": length, "tokens": tokens, "weights": weights, "args": args | more.pop("args", {}), **more}


SOURCES = {"short": source("short"), "pages": source("pages", full=True), "none": None}
PHASES = {
    "near": phase(32, 2000, {"short": 1, "none": 0}),
    "far": phase(
        128, 4000, {"short": 6, "pages": 4}, rope_theta=1e6, args={"save_strategy": "steps", "save_steps": 3}
    ),
}
CONFIG = {"seed": 0, "model": {"_target_": "k15_plugins.models.tiny"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain")
    pretrain(CONFIG, folder, SOURCES, PHASES, held_out=0.1, new=NEW)
    return folder


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def figures(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_each_phase_leaves_a_model_that_has_learnt(run):
    near, far = (figures(run / "phases" / name) for name in PHASES)
    assert near[0]["loss"] > near[-2]["train_loss"] > far[0]["loss"] - 0.5
    assert set(far[-1]) >= {"held_out_loss/short", "held_out_loss/pages"}
    assert "held_out_loss/pages" not in near[-1]
    config = AutoModelForCausalLM.from_pretrained(run / "model").config
    assert (config.max_position_embeddings, config.rope_parameters["rope_theta"]) == (128, 1e6)
    assert AutoModelForCausalLM.from_pretrained(run / "phases/near/model").config.max_position_embeddings == 32
    assert config._attn_implementation == "sdpa"
    last = weights(run / "model")
    assert all(torch.equal(value, last[name]) for name, value in weights(run / "phases/far/model").items())
    steps = [line["step"] for line in figures(run)]
    assert steps == sorted(steps)
    assert steps[-1] == near[-1]["step"] + far[-1]["step"]
    mean = (far[-1]["held_out_loss/short"] + far[-1]["held_out_loss/pages"]) / 2
    assert figures(run)[-1]["held_out_loss"] == pytest.approx(mean)
    assert max(line.get("num_tokens", 0) for line in far) == 4000


def test_the_loss_is_that_of_documents_alone(run):
    model = AutoModelForCausalLM.from_pretrained(run / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    documents = [ids[:40] for ids in tokenizer(lines(7, 9))["input_ids"]]
    rows = mix_tokens({"a": partial_rows(documents, 64)}, {"a": 1}, sum(map(len, documents)))
    assert len(rows) < len(documents)
    total = count = 0
    for ids in documents:
        ids = torch.tensor([ids])
        logps = model(input_ids=ids, use_cache=False).logits.log_softmax(-1)
        total -= logps[0, :-1].gather(1, ids[0, 1:, None]).sum().item()
        count += ids.shape[1] - 1
    assert document_loss(model, rows) == pytest.approx(total / count, abs=1e-5)


def test_training_and_measuring_attend_inside_the_documents(tmp_path):
    attend = document_attention.scaled_dot_product_attention
    with mock.patch.object(document_attention, "scaled_dot_product_attention", wraps=attend) as seen:
        pretrain(CONFIG, tmp_path, SOURCES, {"near": PHASES["near"]}, held_out=0.1, new=NEW)
    assert {call.args[0].requires_grad for call in seen.call_args_list} == {True, False}


@pytest.mark.parametrize("kept", ["checkpoint-3", None])
def test_a_stopped_run_goes_on_to_the_same_weights(run, tmp_path, kept):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    far = folder / "phases" / "far"
    for gone in (folder / "model", far / "model", *(far / "checkpoints").glob("checkpoint-*")):
        if gone.name != kept:
            shutil.rmtree(gone)
    if kept:
        # The half of a later one, over which the run was killed.
        shutil.copytree(far / "checkpoints" / kept, far / "checkpoints" / "checkpoint-9")
        begin_checkpoint(far / "checkpoints" / "checkpoint-9")
    untouched = (folder / "phases/near/model/model.safetensors").stat().st_mtime_ns
    pretrain(CONFIG, folder, SOURCES, PHASES, held_out=0.1, new=NEW)
    assert (folder / "phases/near/model/model.safetensors").stat().st_mtime_ns == untouched
    once, again = weights(run / "model"), weights(folder / "model")
    assert all(torch.equal(once[name], again[name]) for name in once)
    # The time of the training is of what was left of it.
    assert [line["step"] for line in figures(folder)] == [line["step"] for line in figures(run)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phases": {}}, "stage.phases must have a phase, got none"),
        ({"held_out": 0.0}, "stage.held_out must be a share between 0 and 1, got 0.0"),
        (
            {"phases": {"a": {"length": 8}}},
            "stage.phases.a must have length, tokens, weights and args.*missing: tokens",
        ),
        ({"phases": {"a": {**PHASES["near"], "lenght": 8}}}, "unknown: lenght"),
        ({"phases": {"a": phase(1, 10, {"short": 1})}}, "stage.phases.a.length must be a whole number from 2, got 1"),
        ({"phases": {"a": phase(8, 10, {"long": 1})}}, "stage.phases.a.weights.long must belong to a source"),
        ({"phases": {"a": phase(8, 10, {"none": 1})}}, "stage.phases.a.weights.none must belong to a source"),
        ({"phases": {"a": phase(8, 10, {"short": -1})}}, "weights.short must be 0 or more, got -1"),
        ({"phases": {"a": phase(8, 10, {"short": 0})}}, "weights must be above 0 for a source"),
        ({"phases": {"a": phase(64, 10**7, {"short": 1})}}, "stage.phases.a: source short must have 10000000 tokens"),
        ({"phases": {"a": phase(8, 10, {"short": 1}, args={"packing": True})}}, "stage.phases.a.args.packing is this"),
        (
            {"phases": {"a": PHASES["far"], "b": PHASES["near"]}},
            "stage.phases.b.length must be 128 or more, that of the phase before, got 32; lengths grow",
        ),
        (
            {"phases": {"a": phase("x", 10, {"short": 1})}},
            "stage.phases.a.length must be a whole number from 2, got 'x'",
        ),
        ({"phases": {"a": phase(8, 10, {"short": "x"})}}, "stage.phases.a.weights.short must be a number, got 'x'"),
        ({"config": CONFIG | {"model": {"lora": {"r": 2}}}, "new": None}, "model.lora must be null for this stage"),
        ({"new": {**NEW, "depth": 9}}, "stage.new.depth is no field of a new model; take vocab_size, hidden_size"),
        ({"new": {**NEW, "layers": "x"}}, "stage.new.layers must be a whole number from 1, got 'x'"),
        ({"new": {**NEW, "vocab_size": 9}}, "vocab_size must be 258 or more, a token for each byte, got 9"),
    ],
)
def test_what_cannot_be_is_told_before_a_model_is_made(tmp_path, change, message):
    given = {
        "config": CONFIG,
        "run_dir": tmp_path,
        "sources": SOURCES,
        "phases": PHASES,
        "held_out": 0.1,
        "new": NEW,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        pretrain(**given)
    assert not list(tmp_path.iterdir())


def test_the_numbers_of_the_paper():
    words = ["stage.sources.long.documents.path=a.jsonl", "stage.sources.cooldown.documents.path=b.jsonl"]
    stage = compose("+recipe=long_context_paper", "model.name=m", *words)["stage"]
    phases = list(stage["phases"].values())
    assert [each["length"] for each in phases] == [4096, 32768, 131072]
    assert {each["rope_theta"] for each in phases} == {1e6}
    assert all(each["weights"] == {"long": 40, "cooldown": 60} for each in phases)
    assert [source.get("full", False) for source in stage["sources"].values()] == [True, False]
    small = compose("+recipe=long_context", "model.name=m")["stage"]["phases"]
    assert all(each["weights"] == {"long": 40, "cooldown": 60} for each in small.values())


def test_the_rate_of_a_cooldown_falls_and_never_jumps_up():
    phases = compose("+recipe=cooldown", "model.name=m")["stage"]["phases"].values()
    args = [each["args"] for each in phases]
    for before, after in pairwise(args):
        assert after["learning_rate"] == before["lr_scheduler_kwargs"]["min_lr"] < before["learning_rate"]
    assert args[-1]["lr_scheduler_type"] == "cosine"  # down to 0
