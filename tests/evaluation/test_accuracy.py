"""Accuracy and tokens per answer, on a tiny real model."""

import pytest
import tiny
import torch

from k15_plugins.evaluation.accuracy import evaluate


def responses(result):
    return [sample.response for problem in result.problems for sample in problem.samples]


def test_figures_agree_with_the_responses():
    model, tokenizer = tiny.model(), tiny.tiny_tokenizer()
    seen = {"prompts": [], "completions": [], "completion_ids": [], "answer": []}

    def reward(prompts, completions, completion_ids, answer, **_):
        for name, values in zip(seen, (prompts, completions, completion_ids, answer), strict=True):
            seen[name] += values
        return tiny.odd_start(completion_ids)

    torch.manual_seed(7)
    state = torch.get_rng_state()
    model.train()
    options = {"max_new_tokens": 60, "batch_size": 4}
    result = evaluate(model, tokenizer, tiny.problems(10), reward, seed=1, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training

    assert seen["prompts"] == list(tiny.problems(10)["prompt"])
    assert seen["answer"] == list(tiny.problems(10)["answer"])
    decoded = tokenizer.batch_decode(seen["completion_ids"], skip_special_tokens=True)
    assert responses(result) == seen["completions"] == decoded
    ends = [ids[-1] == tokenizer.eos_token_id for ids in seen["completion_ids"]]
    assert 0 < sum(ends) < 10
    assert result.truncated_share == (10 - sum(ends)) / 10
    assert all(tokenizer.eos_token_id not in ids[:-1] for ids in seen["completion_ids"])
    assert all(len(ids) == 60 for ids, end in zip(seen["completion_ids"], ends, strict=True) if not end)
    assert [sample.ids for problem in result.problems for sample in problem.samples] == seen["completion_ids"]
    assert result.mean_tokens == sum(len(ids) for ids in seen["completion_ids"]) / 10
    assert result.accuracy == sum(ids[0] % 2 for ids in seen["completion_ids"]) / 10

    again = evaluate(model, tokenizer, tiny.problems(10), tiny.odd_start, seed=1, **options)
    other = evaluate(model, tokenizer, tiny.problems(10), tiny.odd_start, seed=2, **options)
    assert responses(again) == responses(result) != responses(other)


def test_messages_and_greedy():
    model, tokenizer = tiny.model(), tiny.tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    plain = tiny.problems(6)
    chat = plain.map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})

    def reward(completions, completion_ids, **_):
        return [0.0] * len(completions)

    options = {"max_new_tokens": 12, "temperature": 0.0}
    text = evaluate(model, tokenizer, plain, reward, **options)
    assert responses(evaluate(model, tokenizer, chat, reward, **options)) == responses(text)
    assert responses(evaluate(model, tokenizer, plain, reward, seed=9, **options)) == responses(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problems": tiny.problems().select([])}, "problems must have at least one row"),
        ({"problems": tiny.problems().remove_columns("prompt")}, "problems must have a column prompt, got answer"),
        ({"max_new_tokens": 0}, "max_new_tokens must be 1 or more, got 0"),
        ({"num_samples": 0}, "num_samples must be 1 or more, got 0"),
        ({"max_new_tokens": "4"}, "max_new_tokens must be a whole number, got '4'"),
        ({}, "model must be a model that is loaded, got None"),
        ({"temperature": -1.0}, "temperature must be 0 or more, got -1.0"),
        ({"reward_func": dict}, "reward_func must be a reward function, got <class 'dict'>"),
    ],
)
def test_what_cannot_be_sampled_or_scored_is_refused(changes, message):
    given = {"problems": tiny.problems(), "reward_func": tiny.odd_start, "max_new_tokens": 4} | changes
    with pytest.raises(ValueError, match=message):
        evaluate(None, None, **given)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda **_: 1 / 0, "the reward function <lambda> failed with ZeroDivisionError: division by zero; mend it"),
        (lambda **_: None, "must return a list of 2 numbers, one a response, got None"),
        (lambda **_: [1.0], r"must return a list of 2 numbers, one a response, got \[1.0\]"),
        (lambda **_: ["a", "b"], r"must return a list of 2 numbers, .*, got \['a', 'b'\]"),
    ],
)
def test_a_reward_function_that_goes_wrong_is_named(reward, message):
    with pytest.raises(ValueError, match=message):
        evaluate(tiny.model(), tiny.tiny_tokenizer(), tiny.problems(2), reward, max_new_tokens=2)
