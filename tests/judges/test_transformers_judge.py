"""A judge in the process, with a tiny random model: the most probable text, whatever the batch."""

import logging

import pytest
import tiny
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from k15_plugins import TransformersJudge
from k15_plugins.models.tiny_reasoner import tiny_tokenizer

PROMPTS = ["4 + 3 is 7", "1", "2 + 2 is 4 . answer 4", "wait"]


def language_model():
    model = tiny.model()
    with torch.no_grad():  # so that what it writes depends on what it has read
        for weight in model.parameters():
            weight *= 8 if weight.dim() == 2 else 1
    return model.eval(), tiny_tokenizer()


def by_hand(model, tokenizer, prompt, tokens):
    ids = tokenizer(prompt)["input_ids"]
    start = len(ids)
    for _ in range(tokens):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[start:], skip_special_tokens=True)


def test_it_writes_the_most_probable_text_in_any_batch():
    model, tokenizer = language_model()
    wanted = [by_hand(model, tokenizer, prompt, 12) for prompt in PROMPTS]
    assert len(set(wanted)) > 1
    for size in (1, 3, 16):
        judge = TransformersJudge(model, tokenizer, max_new_tokens=12, batch_size=size)
        assert judge.write(PROMPTS) == wanted
    assert judge.write([]) == []


def test_what_is_too_long_gets_none_and_a_warning(caplog):
    judge = TransformersJudge(*language_model(), max_new_tokens=100)
    with caplog.at_level(logging.WARNING):
        texts = judge.write(["1 " * 29, "1 " * 28])
    assert texts[0] is None
    assert texts[1] is not None
    assert "1 of 2 texts are longer than the 28 tokens" in caplog.text


def test_a_chat_is_given_as_a_message():
    model, tokenizer = language_model()
    tokenizer.chat_template = (
        "{% for m in messages %}check {{ m['content'] }} .{% endfor %}{% if add_generation_prompt %} so{% endif %}"
    )
    chat = TransformersJudge(model, tokenizer, max_new_tokens=6, chat=True)
    plain = TransformersJudge(model, tokenizer, max_new_tokens=6)
    assert chat.write(["4 + 3"]) == plain.write(["check 4 + 3 . so"])
    assert chat.identity != plain.identity


def test_a_folder_is_loaded_and_known_by_its_weights(tmp_path):
    model, tokenizer = language_model()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    here, loaded = (
        TransformersJudge(model, tokenizer, max_new_tokens=6),
        TransformersJudge(str(tmp_path), max_new_tokens=6),
    )
    assert loaded.write(PROMPTS) == here.write(PROMPTS)
    assert loaded.identity == here.identity
    again = AutoTokenizer.from_pretrained(tmp_path)
    again.chat_template = "{{ messages }}"
    assert TransformersJudge(model, again, max_new_tokens=6).identity != here.identity
    with torch.no_grad():
        weight = model.lm_head.weight
        weight[:2] = weight[:2].flip(0)
    assert TransformersJudge(model, tokenizer, max_new_tokens=6).identity != here.identity
    with torch.no_grad():
        weight[:2] = weight[:2].flip(0)
    assert TransformersJudge(model, tokenizer, max_new_tokens=6).identity == here.identity
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 0.1
    assert TransformersJudge(model, tokenizer, max_new_tokens=6).identity != here.identity


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "/no/such/folder"}, "model must be the folder of a causal language model.* got '/no/such/folder'"),
        ({"tokenizer": None}, "tokenizer must be that of the model, got None"),
        ({"max_new_tokens": 0}, "max_new_tokens must be 1 or more, got 0"),
        ({"max_new_tokens": 128}, "max_new_tokens must be below the 128 tokens of the model, got 128"),
        ({"batch_size": 2.0}, "batch_size must be a whole number"),
        ({"chat": True}, "chat must be false for a tokenizer without a chat template"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    model, tokenizer = language_model()
    with pytest.raises(ValueError, match=message):
        TransformersJudge(**{"model": model, "tokenizer": tokenizer, "max_new_tokens": 8} | given)


def test_a_tokenizer_without_padding_is_refused_and_one_that_is_loaded_here_gets_it(tmp_path):
    model, tokenizer = language_model()
    wanted = TransformersJudge(model, tokenizer, max_new_tokens=6).write(PROMPTS)
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="tokenizer must have a padding token"):
        TransformersJudge(model, tokenizer, max_new_tokens=6)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert TransformersJudge(str(tmp_path), max_new_tokens=6).write(PROMPTS) == wanted


def test_a_value_head_is_no_judge(tmp_path):
    model, tokenizer = language_model()
    head = LlamaForSequenceClassification(LlamaConfig(**model.config.to_dict() | {"num_labels": 1}))
    head.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"model must be a language model, .*ForSequenceClassification.*classic_model"
    ):
        TransformersJudge(str(tmp_path))
