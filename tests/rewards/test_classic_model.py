"""Scores from a value head: a tiny real one, trained by TRL's RewardTrainer, and one with known opinions."""

import json
import logging
import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification
from trl import RewardConfig, RewardTrainer

from k15_plugins import ClassicModelReward, judge_prompt
from k15_plugins.models.tiny_reasoner import tiny_tokenizer

TEMPLATE = "check {question} is {reference} wait {response} corrected"
PROMPT = "4 + 3 ="
RESPONSES = ["4 + 3 is 7 . answer 7", "answer 8", "so 4 + 3 is 8 . 8 + 1 is 9 . answer 9"]


def classifier(labels=1, kind=LlamaForSequenceClassification, pad=0):
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        num_labels=labels,
        initializer_range=1.0,
        bos_token_id=None,
        pad_token_id=pad,
    )
    return kind(config).eval()


def score(*responses, model=None, answer="7", **options):
    reward = ClassicModelReward(model or classifier(), tiny_tokenizer(), template=TEMPLATE, **options)
    number = len(responses)
    return reward(
        prompts=[PROMPT] * number, completions=list(responses), completion_ids=None, answer=[answer] * number
    )


def test_the_template_of_the_training_is_read_beside_the_model(tmp_path):
    model, tokenizer = classifier(), tiny_tokenizer()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "judge.json").write_text(json.dumps({"template": TEMPLATE}))
    found = ClassicModelReward(str(tmp_path))([PROMPT], [RESPONSES[0]], None, answer=["7"])
    assert found == score(RESPONSES[0], model=model)
    other = ClassicModelReward(str(tmp_path), template="{question} {reference} {response}")
    assert other([PROMPT], [RESPONSES[0]], None, answer=["7"]) != found


def test_it_sees_the_tokens_that_reward_trainer_trains_on(tmp_path):
    tokenizer = tiny_tokenizer()
    texts = [judge_prompt(PROMPT, "7", response, TEMPLATE) for response in RESPONSES]
    data = Dataset.from_dict({"chosen": texts[:2], "rejected": texts[1:]})
    args = RewardConfig(str(tmp_path), bf16=False, use_cpu=True, report_to="none", max_steps=1)
    trainer = RewardTrainer(classifier(), args, train_dataset=data, processing_class=tokenizer)
    trained = [*trainer.train_dataset["chosen_ids"], trainer.train_dataset["rejected_ids"][1]]
    reward = ClassicModelReward(trainer.model, tokenizer, template=TEMPLATE)
    assert [reward._tokens(text) for text in texts] == trained
    assert all(ids[-1] == tokenizer.eos_token_id for ids in trained)
    # And the value is at that token.
    with torch.no_grad():
        values = [trainer.model(input_ids=torch.tensor([ids])).logits[0, 0] for ids in trained]
    assert score(*RESPONSES, model=trainer.model) == pytest.approx(
        [each.sigmoid().item() for each in values], rel=1e-5
    )
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    loaded = ClassicModelReward(str(tmp_path / "model"), template=TEMPLATE)
    given = {"prompts": [PROMPT] * 3, "completions": RESPONSES, "completion_ids": None, "answer": ["7"] * 3}
    assert loaded(**given) == pytest.approx(score(*RESPONSES, model=trainer.model), rel=1e-5)


def test_batches_and_padding_change_nothing():
    responses = [*RESPONSES, "", "wait . answer 1"]
    alone = [score(response)[0] for response in responses]
    assert len(set(alone)) == 5
    for size in (1, 2, 8):
        assert score(*responses, batch_size=size) == pytest.approx(alone, rel=1e-5)
        assert score(*responses, model=classifier(pad=None), batch_size=size) == pytest.approx(alone, rel=1e-5)


class Opinions(torch.nn.Module):
    """Gives every text one value, and keeps how many it was asked."""

    def __init__(self, value):
        super().__init__()
        self.config = SimpleNamespace(num_labels=1, max_position_embeddings=32, pad_token_id=0)
        self.device = "cpu"
        self.value, self.asked = value, 0

    def forward(self, input_ids, attention_mask):
        self.asked += len(input_ids)
        return SimpleNamespace(logits=torch.full((len(input_ids), 1), self.value))


@pytest.mark.parametrize(
    ("value", "threshold", "expected"),
    [
        (0.0, None, 0.5),
        (1.0, None, 1 / (1 + math.exp(-1))),
        (1e30, None, 1.0),
        (-1e30, None, 0.0),
        (0.0, 0.5, 1.0),
        (-0.01, 0.5, 0.0),
        (1.0, 0.9, 0.0),
    ],
)
def test_the_sigmoid_and_its_threshold(value, threshold, expected):
    assert score("answer 7", model=Opinions(value), threshold=threshold) == pytest.approx([expected])


def test_a_response_that_says_nothing_gets_0_unasked():
    model = Opinions(9.0)
    assert score("", " : ", "...\n", model=model) == [0, 0, 0]
    assert model.asked == 0


def test_what_the_model_cannot_judge_has_no_score_and_is_told(caplog):
    told = {}
    model = Opinions(math.nan)
    with caplog.at_level(logging.WARNING):
        reward = ClassicModelReward(model, tiny_tokenizer(), template=TEMPLATE)
        scores = reward(
            prompts=[PROMPT] * 3,
            completions=["answer 7", "1 " * 40, "."],
            completion_ids=None,
            answer=[7] * 3,
            log_metric=told.__setitem__,
        )
    assert scores == [None, None, 0.0]
    assert told == {"k15/judge_failures": 2.0}
    assert "2 of 3 responses could not be judged" in caplog.text
    assert "1 texts are longer than the 32 tokens that the model reads, 1 values are not finite" in caplog.text


def test_messages_are_read_as_text():
    reward = ClassicModelReward(classifier(), tiny_tokenizer(), template=TEMPLATE)
    chat = reward(
        prompts=[[{"role": "user", "content": PROMPT}]],
        completions=[[{"role": "assistant", "content": RESPONSES[0]}]],
        completion_ids=None,
        answer=["7"],
    )
    assert chat == score(RESPONSES[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "/no/such/folder"}, "model must be the folder of a reward model, .* got '/no/such/folder'"),
        ({"model": classifier(labels=2)}, "model must have one label, its value, got 2"),
        ({"tokenizer": None}, "tokenizer must be that of the model, got None"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"threshold": 1}, "threshold must be between 0 and 1, got 1"),
        ({"threshold": "x"}, "threshold must be a number, got 'x'"),
        ({"template": "{question} {response}"}, "template must hold {reference}"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ClassicModelReward(**{"model": classifier(), "tokenizer": tiny_tokenizer()} | options)


def test_a_language_model_is_no_reward_model(tmp_path):
    classifier(kind=LlamaForCausalLM).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"model must be a sequence classifier, got .*LlamaForCausalLM"):
        ClassicModelReward(str(tmp_path))


def test_a_tokenizer_without_an_end_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="tokenizer must have an end-of-sequence token"):
        ClassicModelReward(classifier(), tokenizer)
