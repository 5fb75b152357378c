import random

import torch
from transformers import AutoTokenizer

from k15_plugins.models.tiny_reasoner import tiny_model, tiny_tokenizer
from k15_plugins.tasks.thoughts import write_thoughts


def test_every_token_of_prompts_and_traces_survives_the_tokenizer(tmp_path):
    tiny_tokenizer().save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    rng = random.Random(0)
    for _ in range(50):
        text = "9 - 8 - 9 - 0 = " + write_thoughts("9 - 8 - 9 - 0", rng, p_wrong=0.5, p_check=0.5)
        ids = tokenizer(text)["input_ids"]
        assert len(ids) == len(text.split())
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_end_and_padding_are_one_token_each_and_vanish_from_decoded_text():
    tokenizer = tiny_tokenizer()
    ids = tokenizer("answer 5<eos><pad>")["input_ids"]
    assert ids[-2:] == [tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "answer 5"


def test_the_model_follows_its_seed_and_fits_in_three_megabytes():
    tokenizer = tiny_tokenizer()
    first, same, other = (tiny_model(tokenizer, seed).get_input_embeddings().weight for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    model = tiny_model(tokenizer, seed=0)
    assert model.dtype == torch.float32
    assert sum(parameter.numel() * 4 for parameter in model.parameters()) < 3e6
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
