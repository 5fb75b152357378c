"""What a user gets wrong in a script: one sentence, before anything is trained."""

import inspect
import logging
import re
from functools import partial

import pytest
import tiny
import torch
from datasets import Dataset, DatasetDict
from transformers import LlamaConfig, LlamaForSequenceClassification, TrainerCallback, TrainingArguments
from trl import GRPOConfig, GRPOTrainer

from k15_plugins import GroupLengthReward, PrioritizedSampler, SampledGRPOTrainer, UniformSampler


def without_kwargs(prompts, completions):
    return [0.0] * len(prompts)


def needs_entry(completions, entry, **_):
    return [0.0] * len(completions)


def needs_answer(completions, answer, **_):
    return [0.0] * len(completions)


class Reward:
    def __call__(self, prompts, **_):
        return [0.0] * len(prompts)


async def fails_asynchronously(prompts, **_):
    raise RuntimeError("down")


def repetition_penalty(prompts, **_):
    return [0.0] * len(prompts)


def unnamed_reward_model():
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlamaConfig(vocab_size=len(tiny.tiny_tokenizer()), num_labels=1, pad_token_id=0, **size)
    return LlamaForSequenceClassification(config)


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
        ({"train_dataset": Dataset.from_dict({"prompt": ["a", "", "b"]})}, "1 of 3 rows have none"),
        ({"train_dataset": Dataset.from_dict({"prompt": ["a", None, "b"]}).select([2, 1])}, "1 of 2 rows have none"),
        ({"train_dataset": Dataset.from_dict({"prompt": [None, None]})}, "2 of 2 rows have none"),
        (
            {"train_dataset": Dataset.from_dict({"prompt": [[], [{"role": "user", "content": "1"}]]})},
            "1 of 2 rows have none",
        ),
        ({"train_dataset": None}, "train_dataset must be a Dataset, got None"),
        ({"train_dataset": [{"prompt": "1 + 1 ="}]}, r"got a list; make one, as by Dataset.from_list\(rows\)"),
        (
            {"train_dataset": DatasetDict({"train": tiny.problems()})},
            r"got a DatasetDict of train; take one of them, such as train_dataset\['train'\]",
        ),
        (
            {"eval_dataset": {"hard": tiny.problems().rename_column("prompt", "question")}},
            r"eval_dataset\['hard'\] must have a column prompt, got question, answer; rename yours, as by eval_d",
        ),
        (
            {"train_dataset": tiny.problems().rename_column("prompt", "q").to_iterable_dataset()},
            "must have a column pro",
        ),
        ({"sampler": 3}, r"sampler must be one of k15_plugins.sampling, got 3; give one, such as UniformSampler"),
        ({"sampler": UniformSampler(5)}, "sampler draws from 5 problems but train_dataset has 12"),
        ({"model": "./no/such/folder"}, r"model=./no/such/folder must be a name on the Hub or a folder"),
        ({"beta": 0.1}, "beta=0.1 loads the starting policy by the name of the model, and this one"),
        ({"processing_class": None}, "processing_class is loaded by the name of the model"),
        ({"reward_funcs": []}, "reward_funcs must hold a reward function, got none"),
        ({"reward_weights": [1.0, 2.0]}, r"reward_weights=\[1.0, 2.0\] must have a number for each of the 1 reward"),
        (
            {"reward_funcs": [unnamed_reward_model()]},
            "holds a LlamaForSequenceClassification without a name",
        ),
        ({"final_reward": "oddstart"}, "final_reward must be one of odd_start, got 'oddstart'"),
        (
            {"eval_dataset": tiny.problems().remove_columns("answer"), "reward_funcs": [needs_answer]},
            "of eval_data",
        ),
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
        (
            {
                "reward_funcs": [partial(repetition_penalty, scale=1)],
                "repetition_penalty_weight": 0.5,
                "repetition_max_period": 8,
            },
            "repetition_penalty_weight=0.5 adds a reward called repetition_penalty",
        ),
        (
            {"processing_class": "gpt2"},
            "processing_class must be a tokenizer or a processor, got 'gpt2'; give AutoTok",
        ),
        ({"model": 5}, "model must be a model, or the name or folder of one, got 5"),
        ({"model": None}, "model must be a model, or the name or folder of one, got None"),
        ({"model": LlamaForSequenceClassification}, "model must be a model, or the name or folder of one, got <class"),
        ({"callbacks": ["x"]}, r"callbacks must be a list of objects of TrainerCallback, got \['x'\]; give"),
        ({"callbacks": [UniformSampler]}, "callbacks must be a list of objects of TrainerCallback, got "),
        ({"callbacks": TrainerCallback()}, "callbacks must be a list of objects of TrainerCallback, got "),
        ({"peft_config": {"r": 8}}, r"peft_config must be a peft.PeftConfig, got {'r': 8}; give peft.LoraConfig"),
        ({"eval_dataset": [{"prompt": "1"}]}, "eval_dataset must be a Dataset or a dict of them, got "),
        (
            {"train_dataset": tiny.problems().rename_column("answer", "completions")},
            r"must have no column completions, for TRL passes its own .*; rename it, as by train_dataset.rename_co",
        ),
        ({"reward_funcs": (tiny.odd_start,)}, r"must be a list of reward functions, got a tuple; give list\(reward_f"),
        ({"reward_funcs": {"a": tiny.odd_start}}, r"got a dict; give list\(reward_funcs.values\(\)\)"),
        ({"reward_funcs": {tiny.odd_start}}, r"got a set; give list\(reward_funcs\)"),
        ({"reward_funcs": "odd_start"}, "got 'odd_start'; give the function itself, not its name"),
        (
            {"shuffle_dataset": False, "sampler": UniformSampler(12)},
            "shuffle_dataset=False has no effect on a sampler",
        ),
        ({"model_init_kwargs": {"dtype": "float16"}}, "has no effect on a model that is loaded already"),
        ({"eval_strategy": "steps", "eval_steps": 1}, "eval_strategy=steps needs an eval_dataset, and there is none"),
        ({"eval_on_start": True}, "eval_on_start=True needs an eval_dataset, and there is none"),
        ({"save_strategy": "best"}, "save_strategy='best' needs metric_for_best_model"),
        ({"push_to_hub": True}, "push_to_hub=True needs the Hub, and HF_HUB_OFFLINE is set"),
        ({"optim": "galore_adamw"}, "optim=galore_adamw needs a package: "),
        ({"optim_args": "foo"}, "optim_args must be as 'key=value, key=value', got 'foo'"),
        ({"lr_scheduler_kwargs": {"foo": 1}}, "arguments of the schedule constant, got 'foo'; it takes none"),
        (
            {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycle": 1}},
            r"schedule cosine, got 'num_cycle' \(did you mean 'num_cycles'\?\)",
        ),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_type=cosine_with_min_lr .*min_lr"),
        (
            {"generation_kwargs": {"top_q": 1}},
            r"fields of GenerationConfig, got 'top_q' \(did you mean 'top_[pk]'\?\)",
        ),
        ({"generation_kwargs": {"num_return_sequences": 2}}, "got num_return_sequences=2; set num_generations"),
        (
            {"use_transformers_paged": True, "eval_dataset": tiny.problems(4), "eval_on_start": True},
            "use_transformers_paged must be False where there is an evaluation, got True, .*; leave it out",
        ),
        (
            {
                "use_transformers_continuous_batching": True,
                "eval_dataset": tiny.problems(4),
                "eval_strategy": "steps",
                "eval_steps": 1,
            },
            "use_transformers_continuous_batching must be False where there is an evaluation, got True",
        ),
        ({"cache_implementation": "foo"}, r"generation_kwargs={}: Invalid `cache_implementation` \(foo\)"),
        ({"use_liger_kernel": True}, "use_liger_kernel=True needs liger-kernel; run pip install liger-kernel"),
        ({"importance_weight_cap": 2.0}, "importance_weight_cap=2.0 needs the engine's log-probabilities"),
        ({"log_level": "loud"}, "log_level must be one of debug, .*, got 'loud'; the default is 'passive'"),
        (
            {"hub_strategy": "foo"},
            "hub_strategy must be one of end, every_save, checkpoint, all_checkpoints, got 'foo'",
        ),
        ({"eval_strategy": "foo"}, "eval_strategy must be one of no, steps, epoch, got 'foo'"),
        ({"ddp_backend": "foo"}, "ddp_backend must be one of nccl, "),
        ({"vllm_mode": "foo"}, "vllm_mode must be one of server, colocate, got 'foo'"),
        ({"max_grad_norm": None}, "max_grad_norm must be a number, got None"),
        ({"pad_to_multiple_of": 0}, "pad_to_multiple_of must be a whole number from 1, got 0"),
        ({"save_steps": 1.5}, "save_steps must be above 0 .*, got 1.5"),
        ({"logging_steps": float("inf")}, "logging_steps must be a finite number, got inf"),
    ],
)
def test_a_trainer_is_refused_in_one_sentence(tmp_path, given, message, monkeypatch):
    def never(*_, **__):
        raise AssertionError("TRL's own constructor was reached, which loads models")

    monkeypatch.setattr("trl.GRPOTrainer.__init__", wraps_signature(never))
    with pytest.raises(ValueError, match=message) as error:
        tiny.trainer(tmp_path, **given)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def wraps_signature(function):
    function.__signature__ = inspect.signature(GRPOTrainer.__init__)
    return function


def test_a_data_set_whose_prompts_are_made_when_they_are_read_is_taken(tmp_path):
    data = tiny.problems().rename_column("prompt", "question")
    data.set_transform(lambda rows: {"prompt": rows["question"], "answer": rows["answer"]})
    trainer = tiny.trainer(tmp_path, train_dataset=data, max_steps=1)
    trainer.train()
    assert trainer.state.global_step == 1


def test_another_kind_of_arguments_is_refused(tmp_path):
    with pytest.raises(ValueError, match="args must be a GRPOConfig, got TrainingArguments"):
        SampledGRPOTrainer(
            tiny.model(), [tiny.odd_start], TrainingArguments(str(tmp_path)), train_dataset=tiny.problems()
        )
    with pytest.raises(ValueError, match=r"reward_funcs must hold functions, .* got GRPOConfig"):
        SampledGRPOTrainer(
            tiny.model(), GRPOConfig(str(tmp_path), bf16=False), train_dataset=tiny.problems(),
            processing_class=tiny.tiny_tokenizer(),
        )  # fmt: skip


def test_conversations_are_refused_also_when_the_tokenizer_comes_with_the_model(tmp_path):
    tiny.model().save_pretrained(tmp_path / "model")
    tiny.tiny_tokenizer().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="has no chat template"):
        tiny.trainer(tmp_path, model=str(tmp_path / "model"), processing_class=None, train_dataset=messages())


def test_functions_of_one_name_are_kept_apart(tmp_path):
    told = []

    class Listener(TrainerCallback):
        def on_rollouts(self, trainer, rollouts):
            told.extend(rollouts)

    functions = [lambda prompts, value=value, **_: [value] * len(prompts) for value in (1.0, 2.0, 3.0)]
    trainer = tiny.trainer(tmp_path, reward_funcs=functions, max_steps=1, callbacks=[Listener()], log_completions=True)
    trainer.train()
    expected = {"<lambda>": 1.0, "<lambda>_2": 2.0, "<lambda>_3": 3.0}
    assert told[0]["rewards"] == expected
    for name, value in expected.items():
        assert tiny.logs(trainer, f"rewards/{name}/mean") == [value]


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([0.1, 0.3], r"such as 0.1, and all so far \(0.1 to 0.3\) count as wrong, for final_reward_threshold=0.5"),
        ([2.0, 7.0], r"such as 2, and all so far \(2 to 7\) count as right"),
        ([0.0, 1.0], None),
        ([0.0, 0.0], None),
        ([-1.0, 1.0], None),
        ([0.2, 0.9], None),
        ([None, None], None),
    ],
)
def test_a_final_reward_that_its_threshold_does_not_tell_apart_is_told_once(tmp_path, caplog, rewards, message):
    def scripted(prompts, **_):
        return rewards * (len(prompts) // 2)

    with caplog.at_level(logging.WARNING):
        tiny.trainer(tmp_path, reward_funcs=[scripted], max_steps=4).train()
    told = [record.getMessage() for record in caplog.records if "final_reward_threshold" in record.getMessage()]
    assert len(told) == (0 if message is None else 1)
    if message is not None:
        assert re.search(message, told[0])


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
        (
            raises_on_one,
            r"raises_on_one failed with KeyError: 'no such thing' \(on problem 1, '1 \+ 2 \+ 3 = 1', ",
        ),
        (lambda prompts, **_: "0.0", "must return a list of 16 numbers, one a response, got '0.0'"),
        (lambda prompts, **_: None, "must return a list of 16 numbers, one a response, got None"),
        (lambda prompts, **_: [0.0], "must return 16 rewards, one a response, got 1"),
        (lambda prompts, **_: ["a"] * len(prompts), "must return numbers, got 'a' for problem"),
        (
            lambda prompts, **_: {"rewards": [0.0] * len(prompts)},
            "must return a list of 16 numbers, .* got {'re",
        ),
        (lambda prompts, **_: torch.zeros(len(prompts), 1), r"must return numbers, got \[0.0\] for problem"),
        (lambda prompts, **_: torch.tensor(1.0), "must return a list of 16 numbers, one a response, got 1.0"),
        (
            fails_asynchronously,
            r"fails_asynchronously failed with RuntimeError: down \(on a bat",
        ),
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
