"""Accuracy and tokens per answer, on a tiny real model."""

import tiny
import torch

from k15_plugins.evaluation.accuracy import evaluate


def test_figures_agree_with_the_responses():
    model, tokenizer = tiny.model(), tiny.tiny_tokenizer()
    seen = {}

    def reward(prompts, completions, completion_ids, answer, **_):
        seen.update(prompts=prompts, completions=completions, completion_ids=completion_ids, answer=answer)
        return tiny.odd_start(completion_ids)

    torch.manual_seed(7)
    state = torch.get_rng_state()
    model.train()
    result = evaluate(model, tokenizer, tiny.problems(10), reward, max_new_tokens=60, batch_size=4, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training

    assert seen["prompts"] == list(tiny.problems(10)["prompt"])
    assert seen["answer"] == list(tiny.problems(10)["answer"])
    assert (
        result.responses
        == seen["completions"]
        == tokenizer.batch_decode(seen["completion_ids"], skip_special_tokens=True)
    )
    ends = [ids[-1] == tokenizer.eos_token_id for ids in seen["completion_ids"]]
    assert 0 < sum(ends) < 10
    assert result.truncated_share == 1 - sum(ends) / 10
    assert all(tokenizer.eos_token_id not in ids[:-1] for ids in seen["completion_ids"])
    assert all(len(ids) == 60 for ids, end in zip(seen["completion_ids"], ends, strict=True) if not end)
    assert result.tokens == [len(ids) for ids in seen["completion_ids"]]
    assert result.mean_tokens == sum(result.tokens) / 10
    assert result.right == [ids[0] % 2 == 1 for ids in seen["completion_ids"]]
    assert result.accuracy == sum(result.right) / 10

    again = evaluate(model, tokenizer, tiny.problems(10), reward, max_new_tokens=60, batch_size=4, seed=1)
    other = evaluate(model, tokenizer, tiny.problems(10), reward, max_new_tokens=60, batch_size=4, seed=2)
    assert again.responses == result.responses != other.responses


def test_messages_and_greedy():
    model, tokenizer = tiny.model(), tiny.tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    plain = tiny.problems(6)
    chat = plain.map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})

    def reward(completions, completion_ids, **_):
        return [0.0] * len(completions)

    options = {"max_new_tokens": 12, "temperature": 0.0}
    text = evaluate(model, tokenizer, plain, reward, **options)
    assert evaluate(model, tokenizer, chat, reward, **options).responses == text.responses
    assert evaluate(model, tokenizer, plain, reward, seed=9, **options).responses == text.responses
