"""A tokenizer trained on documents reads every text, and a changed base of the rotary embeddings acts."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from k15_plugins.models.longer import load_longer
from k15_plugins.models.new_model import new_llama, train_tokenizer
from k15_plugins.tasks.documents import english

TOKENIZER = train_tokenizer(english()[:20], 400)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_every_text_is_read_and_written_back(text):
    ids = TOKENIZER(text)["input_ids"]
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == text.encode(errors="replace").decode()


def test_the_vocabulary_is_of_the_documents():
    assert len(TOKENIZER) == 400
    assert len(TOKENIZER("the statement")["input_ids"]) < 8
    assert len(TOKENIZER("1234")["input_ids"]) == 4
    with pytest.raises(ValueError, match="vocab_size must be 258 or more, a token for each byte, got 257; set 1024"):
        train_tokenizer(["a"], 257)


def small(**changes):
    return new_llama(TOKENIZER, **{"hidden_size": 32, "layers": 1, "heads": 2, "length": 16, "seed": 0, **changes})


def test_the_weights_are_those_of_the_seed():
    first, again, other = (small(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])
    with pytest.raises(ValueError, match=r"hidden_size must be a multiple of twice heads=3, got 32"):
        small(heads=3)


def test_another_base_acts_and_survives_saving(tmp_path):
    model = small().eval()
    model.save_pretrained(tmp_path / "a")
    ids = torch.arange(12)[None]
    before = model(ids).logits
    silent = copy.deepcopy(model)
    silent.config.rope_parameters = {"rope_type": "default", "rope_theta": 1e6}
    assert torch.equal(silent(ids).logits, before)  # why a model has to be loaded for it

    longer = load_longer(tmp_path / "a", 64, 1e6).eval()
    assert longer.config.max_position_embeddings == 64
    assert longer.config.rope_parameters["rope_theta"] == 1e6
    assert (longer(ids).logits - before).abs().max() > 1e-4
    expected = 1 / 1e6 ** (torch.arange(0, 16, 2) / 16)
    torch.testing.assert_close(longer.model.rotary_emb.inv_freq, expected)
    longer.save_pretrained(tmp_path / "b")
    torch.testing.assert_close(load_longer(tmp_path / "b", 32, None).eval()(ids).logits, longer(ids).logits)
    assert load_longer(tmp_path / "b", 32, None).config.max_position_embeddings == 64


def test_a_model_without_rotary_embeddings_is_refused(tmp_path):
    GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=1, n_positions=8)).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"rope_theta=10\.0 must belong to a model with rotary embeddings of one base"
    ):
        load_longer(tmp_path, 16, 10.0)
