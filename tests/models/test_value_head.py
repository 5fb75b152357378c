"""From a language model to a judge: its body, and words that it lacks."""

import pytest
import tiny
import torch
from transformers import AutoTokenizer

from k15_plugins.models.tiny_reasoner import tiny_tokenizer
from k15_plugins.models.value_head import add_words, with_value_head


def test_the_body_is_the_models_and_the_head_is_new():
    model = tiny.model()
    classifier = with_value_head(model)
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.equal(classifier.model(ids).last_hidden_state, model.model(ids).last_hidden_state)
    assert classifier(ids).logits.shape == (1, 1)
    assert model.config.num_labels != 1


def test_adapters_are_refused():
    with pytest.raises(
        ValueError, match=r"model must be a whole model for a value head, got a Linear; set model.lora"
    ):
        with_value_head(torch.nn.Linear(2, 2))


def test_words_are_added_once_and_old_ones_keep_their_weights(tmp_path):
    model, tokenizer = tiny.model(), tiny_tokenizer()
    before = model.get_input_embeddings().weight.detach().clone()
    words = ["answer", "judge", '"correct"', "{", ":"]
    add_words(model, tokenizer, words)
    add_words(model, tokenizer, words)
    assert len(tokenizer) == len(before) + 4  # `answer` was there
    after = model.get_input_embeddings().weight
    assert len(after) == len(tokenizer)
    assert torch.equal(after[: len(before)], before)
    tokenizer.save_pretrained(tmp_path)
    text = 'answer 5 judge { "correct" : true }'
    for each in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        ids = each(text)["input_ids"]
        assert ids.count(each.unk_token_id) == 2  # `true` and `}` were not added
        assert each.decode(ids) == text.replace("true }", "<unk> <unk>")
