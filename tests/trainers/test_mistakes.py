"""What a user gets wrong in a script: one sentence, before anything is trained."""

import pytest
import tiny
from datasets import Dataset

from k15_plugins import GroupLengthReward, PrioritizedSampler


def without_kwargs(prompts, completions):
    return [0.0] * len(prompts)


def needs_entry(completions, entry, **_):
    return [0.0] * len(completions)


class Reward:
    def __call__(self, prompts, **_):
        return [0.0] * len(prompts)


def messages():
    return Dataset.from_dict({"prompt": [[{"role": "user", "content": "1 + 1 ="}]] * 4})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train_dataset": tiny.problems().select([])}, "train_dataset must have at least one row"),
        ({"eval_dataset": tiny.problems().select([])}, "eval_dataset must have at least one row"),
        (
            {"train_dataset": tiny.problems().rename_column("prompt", "question")},
            "must have a column prompt",
        ),
        ({"train_dataset": Dataset.from_dict({"prompt": ["a", None, "b"]})}, "1 of 3 rows have none"),
        ({"train_dataset": Dataset.from_dict({"prompt": [1, 2]})}, "texts or lists of messages as prompts, got 1"),
        ({"train_dataset": messages()}, "has no chat template; set processing_class.chat_template"),
        ({"sampler": PrioritizedSampler}, r"sampler must be an object, got the class PrioritizedSampler"),
        ({"reward_funcs": [Reward]}, r"got the class Reward; give an object, such as Reward\(\)"),
        ({"reward_funcs": [3]}, "reward_funcs must hold functions"),
        ({"reward_funcs": [without_kwargs]}, r"without_kwargs must take \*\*kwargs, for TRL also passes answer"),
        ({"reward_funcs": [needs_entry]}, "needs_entry needs entry, which no column of train_dataset gives"),
        ({"reward_funcs": [tiny.odd_start] * 2, "final_reward": "odd_start"}, "is the name of 2 reward functions"),
        (
            {
                "reward_funcs": [tiny.odd_start, GroupLengthReward(tiny.odd_start, 4)],
                "length_penalty_weight": 0.5,
            },
            "length_penalty_weight=0.5 adds a reward called length_reward",
        ),
    ],
)
def test_a_trainer_is_refused_in_one_sentence(tmp_path, given, message):
    with pytest.raises(ValueError, match=message) as error:
        tiny.trainer(tmp_path, **given)
    assert "\n" not in str(error.value)


def test_an_output_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"must be a folder, but .*file is a file"):
        tiny.trainer(tmp_path / "file" / "run")


def raises_on_one(prompts, **_):
    if any(prompt.endswith("= 1") for prompt in prompts):
        raise KeyError("no such thing")
    return [0.0] * len(prompts)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raises_on_one, r"raises_on_one failed with KeyError: 'no such thing' \(on the problem '1 \+ 2 \+ 3 = 1'"),
        (lambda prompts, **_: "0.0", "must return a list of 16 numbers, one a response, got '0.0'"),
        (lambda prompts, **_: None, "must return a list of 16 numbers, one a response, got None"),
        (lambda prompts, **_: [0.0], "must return 16 rewards, one a response, got 1"),
        (lambda prompts, **_: ["a"] * len(prompts), "must return numbers, got 'a' for the problem"),
    ],
)
def test_a_reward_function_that_goes_wrong_is_named_with_problem_and_response(tmp_path, function, message):
    with pytest.raises(ValueError, match=message):
        tiny.trainer(tmp_path, reward_funcs=[function], train_dataset=tiny.problems(4), max_steps=2).train()


def test_prompts_that_the_tokenizer_does_not_know_are_told_of(tmp_path):
    words = Dataset.from_dict({"prompt": ["two plus three"] * 4})
    with pytest.warns(UserWarning, match="must be known to the model's tokenizer, got 100 % .* 'two plus three'"):
        tiny.trainer(tmp_path, train_dataset=words)
    with pytest.warns(UserWarning, match="must be known to the model's tokenizer, got 100 %"):
        tiny.trainer(tmp_path, eval_dataset={"words": words}, eval_strategy="steps", eval_steps=4)
