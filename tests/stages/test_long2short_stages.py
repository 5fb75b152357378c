"""Real runs of the long2short recipes on the shipped model, from the command line, each on what another has left."""

import json
import shutil

import pytest
import torch
from matplotlib.image import imread
from runs.test_cli_training import COMMAND, ROOT, run
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from k15_plugins.evaluation.benchmarks import _BOXED
from k15_plugins.evaluation.frontier import Point, select
from k15_plugins.files.jsonl import read_lines
from k15_plugins.samples import read_samples

TINY = ROOT / "k15_plugins" / "assets" / "tiny_reasoner"
SMALL = ("task.train_size=24", "task.held_out_size=16", "stage.num_samples=4", "stage.batch_size=32")
REJECTION = ("+recipe=long2short_rejection", f"model.name={TINY}", *SMALL)


def done(folder, *words):
    """Run a command that has to end well and return its run folder."""
    ended = run(folder, *words)
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the recipes run; with shortest rejection sampling done."""
    folder = tmp_path_factory.mktemp("long2short")
    ended = done(folder, *REJECTION, "hydra.run.dir=rejection")
    assert "sampled 24/24 problems" in ended.stdout
    return folder


def test_rejection_keeps_all_samples_and_lists_what_is_unsolved(folder):
    sampled = read_samples(folder / "rejection" / "samples")
    assert [problem.problem for problem in sampled] == list(range(24))
    assert all(len(problem.samples) == 4 for problem in sampled)
    unsolved = json.loads((folder / "rejection" / "unsolved.json").read_text())
    assert unsolved == [
        problem.problem
        for problem in sampled
        if not any(sample.right and not sample.truncated for sample in problem.samples)
    ]
    assert 0 < len(unsolved) < 24
    assert (folder / "rejection" / "model" / "model.safetensors").exists()
    assert (folder / "rejection" / "model" / "model.safetensors").read_bytes() != (
        TINY / "model.safetensors"
    ).read_bytes()
    assert (folder / "rejection" / "report" / "loss.png").exists()
    # Its two updates are enough to have the figure that sweeps compare.
    assert json.loads((folder / "rejection" / "status.json").read_text())["figures"]["loss"] > 0


def test_a_run_goes_on_without_sampling_again(folder):
    whole = folder / "rejection" / "samples" / "samples.0.jsonl"
    shutil.copytree(folder / "rejection", folder / "stopped")
    lines = whole.read_text().splitlines(keepends=True)
    (folder / "stopped" / "samples" / "samples.0.jsonl").write_text("".join(lines[:16]) + lines[16][:50])
    ended = done(folder, *REJECTION, "resume=stopped")
    assert "16 of 24 problems are sampled already" in ended.stdout
    assert read_samples(folder / "stopped" / "samples") == read_samples(folder / "rejection" / "samples")
    weights = [(folder / name / "model" / "model.safetensors").read_bytes() for name in ("rejection", "stopped")]
    assert weights[0] == weights[1]


def test_dpo_on_the_same_samples(folder):
    samples = f"stage.samples={folder / 'rejection' / 'samples'}"
    steps = ("stage.args.held_out_steps=2", "+stage.args.max_steps=4", "stage.args.per_device_train_batch_size=4")
    done(folder, "+recipe=long2short_dpo", f"model.name={TINY}", *SMALL, samples, *steps, "hydra.run.dir=dpo")
    lines = read_lines(folder / "dpo" / "metrics.jsonl")
    assert [line["step"] for line in lines if "eval_k15/accuracy" in line] == [0, 2, 4]
    pairs = read_lines(folder / "dpo" / "pairs.jsonl")
    assert {pair["kind"] for pair in pairs} <= {"wrong", "long"}
    assert (folder / "dpo" / "model" / "model.safetensors").exists()


def test_merge_then_evaluate(folder):
    both = f"stage.checkpoints=[{TINY},{folder / 'rejection' / 'model'}]"
    merge = ("+recipe=long2short_merge", both, "stage.alphas=[0,1]", "stage.weights=[0.25,0.75]", *SMALL)
    done(folder, *merge, "hydra.run.dir=merge")
    models = f"stage.models={{long: {TINY}, merged: {folder / 'merge' / 'model'}}}"
    ended = done(folder, "+recipe=evaluate", models, *SMALL, "hydra.run.dir=evaluate")
    assert "\nlong  right 0." in ended.stdout
    assert "| long | 0." in (folder / "evaluate" / "evaluation.md").read_text()
    found = json.loads((folder / "evaluate" / "evaluation.json").read_text())
    assert list(found["models"]) == ["long", "merged"]
    assert found["models"]["long"]["all"]["problems"] == 16
    # The same model on the same problems with the same seed.
    ends = json.loads((folder / "merge" / "evaluation.json").read_text())["models"]["alpha 1"]
    assert ends == found["models"]["long"]
    # The run's own figures are those of the model that it leaves, not of the nearest one of the sweep.
    own = json.loads((folder / "merge" / "status.json").read_text())["figures"]
    assert own["accuracy"] == found["models"]["merged"]["all"]["accuracy"]
    assert own["tokens"] == found["models"]["merged"]["all"]["tokens"]
    for picture in ("merge/pictures/alphas.png", "evaluate/pictures/accuracy_tokens.png"):
        drawn = imread(folder / picture)
        assert drawn.shape[0] > 200
        assert len({tuple(pixel) for pixel in drawn.reshape(-1, drawn.shape[2])[::7]}) > 10
    # Two processes share the work, and the first one merges.
    done(folder, *merge, "backend.processes=2", "hydra.run.dir=merge_by_two")
    assert len(list((folder / "merge_by_two" / "samples" / "alpha 0").glob("samples.*.jsonl"))) == 2
    for name in ("evaluation.json", "model/model.safetensors", "alphas/1/model.safetensors"):
        assert (folder / "merge_by_two" / name).read_bytes() == (folder / "merge" / name).read_bytes(), name
    page = (folder / "evaluate" / "report.html").read_text()
    assert "Answers of each model to the same problems" in page
    assert "Accuracy against tokens" in page
    status = json.loads((folder / "evaluate" / "status.json").read_text())
    assert status["figures"]["accuracy"] == found["models"]["long"]["all"]["accuracy"]


@pytest.mark.slow
def test_select_then_rl(folder):
    done(folder, *COMMAND, "trainer.args.save_steps=2", "hydra.run.dir=long")
    done(folder, "+recipe=select_checkpoint", "stage.run=long", "stage.size=8", *SMALL, "hydra.run.dir=selected")
    measured = json.loads((folder / "selected" / "evaluation.json").read_text())["models"]
    assert list(measured) == ["update 6", "update 8"]  # two are kept
    # The model that is left is the one that was chosen by the rule.
    points = [Point(name, of["all"]["accuracy"], of["all"]["tokens"]) for name, of in measured.items()]
    chosen = select(points, 0.02).name
    kept = {
        name: load_file(folder / "long" / "checkpoints" / f"checkpoint-{name.split()[1]}" / "model.safetensors")
        for name in measured
    }
    saved = load_file(folder / "selected" / "model" / "model.safetensors")
    same = [name for name, weights in kept.items() if all(torch.equal(weights[key], saved[key]) for key in saved)]
    assert same == [chosen]
    assert len(imread(folder / "selected" / "pictures" / "accuracy_tokens.png")) > 200
    tiny_steps = (
        "trainer.args.max_steps=2",
        "trainer.args.per_device_train_batch_size=8",
        "trainer.args.eval_steps=2",
    )
    sizes = ("task.train_size=24", "task.held_out_size=16", "trainer.args.updates_per_iteration=2")
    start = f"model.name={folder / 'selected' / 'model'}"
    done(folder, "+recipe=long2short_rl", start, *tiny_steps, *sizes, "hydra.run.dir=rl")
    assert "rewards/length_reward/mean" in read_lines(folder / "rl" / "metrics.jsonl")[1]


def test_a_benchmark_that_is_cut_off_is_told(folder):
    rows = [{"problem": "3 + 4", "answer": "7", "level": 1}, {"problem": "2 + 1", "answer": "3", "level": 5}]
    # The embedded model, with the words around a problem.
    tokenizer, model = AutoTokenizer.from_pretrained(TINY), AutoModelForCausalLM.from_pretrained(TINY)
    tokenizer.add_tokens(_BOXED.format(problem="").split())
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder / "reader")
    tokenizer.save_pretrained(folder / "reader")
    (folder / "math.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = ("task=benchmark", "task.name=math_500", "task.path=math.jsonl", "task.conversational=false", "reward=math")
    sizes = ("stage.num_samples=2", "stage.batch_size=8")
    ended = done(folder, "+recipe=evaluate", "stage.models={own: reader}", *task, *sizes,
                 "trainer.args.max_completion_length=1", "hydra.run.dir=benchmark")  # fmt: skip
    assert (
        "k15: 100 % of the responses of own are cut off at trainer.args.max_completion_length=1 tokens; raise it"
        in ended.stdout
    )
    figures = json.loads((folder / "benchmark" / "evaluation.json").read_text())["models"]["own"]
    assert list(figures["levels"]["math_500"]) == ["1", "5"]
    assert "| own | math_500 | 5 | 1 | " in (folder / "benchmark" / "evaluation.md").read_text()
