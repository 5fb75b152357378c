import json
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

import k15_plugins
from k15_plugins.evaluation.accuracy import evaluate
from k15_plugins.models.tiny_reasoner import tiny_model, tiny_tokenizer
from k15_plugins.stages.warm_start import train_on_thoughts
from k15_plugins.tasks.entries import dump_entry
from k15_plugins.tasks.thoughts import count_steps, final_answer

SHIPPED = Path(k15_plugins.__file__).parent / "assets" / "tiny_reasoner"


def right(completions, answer, **kwargs):
    return [float(final_answer(response) == true) for response, true in zip(completions, answer, strict=True)]


def sums(expressions: list[str]) -> Dataset:
    return Dataset.from_list(
        [
            {
                "prompt": f"{expression} =",
                "answer": str(eval(expression)),
                "entry": dump_entry({"metadata": {"expression": expression}}),
            }
            for expression in expressions
        ]
    )


TRAIN = sums(["4 + 3 - 2", "9 - 8 - 7", "1 + 2 + 3"])
HELD_OUT = sums(["5 + 5 - 1", "2 - 8 + 7"])


def start(folder, seed=0, **changes):
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer, seed=0)
    sft = {
        "per_device_train_batch_size": 16,
        "learning_rate": 3e-3,
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
    } | changes
    result = train_on_thoughts(
        model, tokenizer, TRAIN, HELD_OUT, str(folder), right, traces=64, max_new_tokens=8, seed=seed, sft=sft
    )
    return result, model, tokenizer


def test_it_saves_a_model_that_loads_and_a_note_of_how_it_was_made(tmp_path):
    result, model, tokenizer = start(tmp_path, seed=3)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = AutoTokenizer.from_pretrained(tmp_path)("4 + 3 - 2 =", return_tensors="pt")["input_ids"]
    assert torch.equal(loaded(ids).logits, model.eval()(ids).logits)
    assert not torch.equal(loaded.model.norm.weight, tiny_model(tokenizer, seed=0).model.norm.weight)
    assert json.loads((tmp_path / "warm_start.json").read_text()) == result
    assert result["seed"] == 3
    assert result["sft"]["learning_rate"] == 3e-3
    readme = (tmp_path / "README.md").read_text()
    assert "+recipe=warm_start" in readme
    assert "Seed 3" in readme
    assert (tmp_path / "model.safetensors").exists()


def test_the_same_seed_gives_the_same_weights(tmp_path):
    weights = [
        start(tmp_path / name, seed=seed)[1].model.embed_tokens.weight for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_unknown_training_argument_is_an_error(tmp_path):
    with pytest.raises(TypeError, match="lerning_rate"):
        start(tmp_path, lerning_rate=1.0)


def test_the_shipped_weights_are_small_and_are_wrong_as_often_as_they_say():
    note = json.loads((SHIPPED / "warm_start.json").read_text())
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 3e6
    model = AutoModelForCausalLM.from_pretrained(SHIPPED)
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    held_out = sums(
        [f"{a} {s} {b} - {c} + {d}" for a in (2, 9) for s in "+-" for b in (3, 8) for c in (1, 6) for d in (4, 7, 0)]
        * 4
    )
    found = evaluate(model, tokenizer, held_out, right, max_new_tokens=160, batch_size=256, temperature=1.0, seed=0)
    counts = count_steps(problem.samples[0].response for problem in found.problems)
    assert found.truncated_share == 0
    assert counts.wrong_steps / counts.steps == pytest.approx(note["p_wrong"], abs=0.05)
    assert counts.checks / counts.steps == pytest.approx(note["p_check"], abs=0.05)
    assert counts.wrong_checks / counts.checks < 0.03
