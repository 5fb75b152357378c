"""Scores from a step reward model: a tiny real one for the plumbing, one with known opinions for the drill."""

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForTokenClassification

from k15_plugins.models.tiny_reasoner import tiny_tokenizer
from k15_plugins.rewards import StepModelReward

TOKENIZER = tiny_tokenizer()
FULL = "4 + 3 is 7 . 7 - 2 is 5 . answer 5"


def classifier(labels=2):
    torch.manual_seed(0)
    return LlamaForTokenClassification(
        LlamaConfig(
            vocab_size=len(TOKENIZER),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            num_labels=labels,
            initializer_range=1.0,
        )
    ).eval()


class Opinions(torch.nn.Module):
    """Judges a step by its last number: right if that is odd. Stands in for a model with known opinions."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(num_labels=2, max_position_embeddings=4096)
        self.device = "cpu"
        self.good, self.bad = 0.9, 0.2

    def forward(self, input_ids, attention_mask):
        probability = torch.full(input_ids.shape, 0.5)
        for row, ids in enumerate(input_ids.tolist()):
            for place in range(1, len(ids)):
                number = TOKENIZER.convert_ids_to_tokens(ids[place - 1])
                if number.lstrip("-").isdigit():
                    probability[row, place] = self.good if int(number) % 2 else self.bad
        return SimpleNamespace(logits=torch.stack([(1 - probability).log(), probability.log()], dim=-1))


def reward(model=None, **options):
    return StepModelReward(model or Opinions(), TOKENIZER, step_separator=" .", **options)


def score(*texts, model=None, **options):
    return reward(model, **options)(prompts=["4 + 3 - 2 ="] * len(texts), completions=list(texts), trainer_state=None)


def test_it_is_the_probability_at_the_separator_behind_the_worst_step():
    model = classifier()
    ids = TOKENIZER("4 + 3 - 2 = 4 + 3 is 7 . 7 - 2 is 5 . answer 5 .", add_special_tokens=False)["input_ids"]
    ends = [place for place, token in enumerate(ids) if token == TOKENIZER.convert_tokens_to_ids(".")]
    probabilities = model(input_ids=torch.tensor([ids])).logits.softmax(-1)[0, ends, 1]
    assert len(ends) == 3
    assert len(set(probabilities.tolist())) == 3
    assert score(FULL, model=model) == pytest.approx([probabilities.min().item()], rel=1e-5)
    assert score(FULL, model=model, good_label=0) == pytest.approx([1 - probabilities.max().item()], rel=1e-3)


def test_batches_and_padding_change_nothing():
    model = classifier()
    texts = [FULL, "answer 5", "4 + 3 is 7 . answer 7", "", "wait . answer 1"]
    alone = [score(text, model=model)[0] for text in texts]
    for size in (1, 2, 8):
        assert score(*texts, model=model, batch_size=size) == pytest.approx(alone, rel=1e-5)


def test_messages_are_read_as_text():
    plain = score(FULL, model=classifier())
    chat = reward(classifier())(
        prompts=[[{"role": "user", "content": "4 + 3 - 2 ="}]], completions=[[{"role": "assistant", "content": FULL}]]
    )
    assert chat == plain


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (FULL, 0.9),
        ("4 + 3 is 8 . 8 - 2 is 5 . answer 5", 0.2),  # honest, one error
        ("", 0),
        (" . . . ", 0),
        ("4 + 3 is 7 . 7 - 2 is 5", 0),  # stops after safe steps
        ("4 + 3 is 7 . " * 20, 0),
        # More of the same, or of anything, never raises the minimum.
        ("4 + 3 is 8 . " + "1 + 0 is 1 . " * 20 + "answer 5", 0.2),
        ("4 + 3 is 7 . " * 20 + "7 - 2 is 5 . answer 5", 0.9),
        ("4 + 3 is 7 . 7 - 3 is 4 . " * 10 + "answer 5", 0.2),
        ("1 + 0 is 1 . " * 20 + "answer 8", 0.2),  # the answer is a step like others
    ],
)
def test_drill(response, expected):
    assert score(response) == pytest.approx([expected])


def test_what_the_model_cannot_judge_has_no_score():
    model = Opinions()
    model.config.max_position_embeddings = 16
    assert score(FULL, "7 . answer 7", model=model) == [None, pytest.approx(0.9)]
    model = Opinions()
    model.good = math.nan
    assert score("8 . answer 8", FULL, model=model) == [pytest.approx(0.2), None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"good_label": 2}, "good_label must be one of the model's 2 labels, got 2"),
        ({"good_label": 1.0}, "good_label must be a whole number"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"step_separator": ""}, "step_separator must be text, got ''"),
        ({"tokenizer": None}, "tokenizer must be that of the model, got None"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        StepModelReward(classifier(), **{"tokenizer": TOKENIZER} | options)


def test_a_model_is_loaded_by_its_folder(tmp_path):
    model = classifier()
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    loaded = StepModelReward(str(tmp_path), step_separator=" .")
    scores = loaded(prompts=["4 + 3 - 2 ="], completions=[FULL])
    assert scores == pytest.approx(score(FULL, model=model), rel=1e-5)
