"""Samples of many problems: what is in them, and that a stopped run goes on with exactly what it left out."""

import json

import pytest
import tiny
import torch
from trl import GRPOConfig, GRPOTrainer

from k15_plugins.generation.transformers_generation import TransformersGeneration
from k15_plugins.generation.trl_generation import TrlGeneration
from k15_plugins.samples import Sample, SampledProblem, read_samples, write_samples
from k15_plugins.samples.draw import sample_problems, sample_to_files

OPTIONS = {"num_samples": 3, "batch_size": 6, "seed": 5}


def engine(temperature=1.0, max_new_tokens=12):
    return TransformersGeneration(
        tiny.model(), tiny.tiny_tokenizer(), max_new_tokens=max_new_tokens, temperature=temperature
    )


def all_problems(*args, **options):
    return [problem for batch in sample_problems(*args, **OPTIONS | options) for problem in batch]


def test_samples_hold_what_was_sampled():
    tokenizer = tiny.tiny_tokenizer()
    data = tiny.problems(5)
    sampled = all_problems(engine(max_new_tokens=60), data, tiny.odd_start)
    assert [problem.problem for problem in sampled] == list(range(5))
    for problem in sampled:
        assert problem.prompt == data[problem.problem]["prompt"]
        assert problem.prompt_ids == tokenizer(problem.prompt)["input_ids"]
        assert len(problem.samples) == 3
        for sample in problem.samples:
            assert sample.right == (sample.ids[0] % 2 == 1)
            assert sample.truncated == (sample.ids[-1] != tokenizer.eos_token_id)
            assert sample.tokens == len(sample.ids)
            assert sample.response == tokenizer.decode(sample.ids, skip_special_tokens=True)
    assert len({tuple(sample.ids) for problem in sampled for sample in problem.samples}) > 5


def test_a_stopped_run_goes_on_with_what_is_left(tmp_path):
    data = tiny.problems(7)
    sample_to_files(engine(), data, tiny.odd_start, tmp_path / "whole", **OPTIONS)
    whole = read_samples(tmp_path / "whole")
    assert whole == all_problems(engine(), data, tiny.odd_start)

    lines = (tmp_path / "whole" / "samples.0.jsonl").read_bytes().splitlines(keepends=True)
    for written, problem in zip(lines, whole, strict=True):
        assert [one["tokens"] for one in json.loads(written)["samples"]] == [len(one.ids) for one in problem.samples]
    for kept, half in [(1, b""), (3, lines[3][:40]), (0, lines[0][:-1])]:
        folder = tmp_path / f"stopped_{kept}"
        folder.mkdir()
        (folder / "samples.0.jsonl").write_bytes(b"".join(lines[:kept]) + half)
        seen = []
        sample_to_files(engine(), data, tiny.odd_start, folder, **OPTIONS, progress=seen.append)
        assert len(seen[0]) == kept
        assert sum(len(batch) for batch in seen) == 7
        assert read_samples(folder) == whole


def test_processes_share_the_batches(tmp_path):
    data = tiny.problems(7)
    for rank in (1, 0):
        sample_to_files(engine(), data, tiny.odd_start, tmp_path, **OPTIONS, part=(rank, 2))
    assert len(list(tmp_path.glob("samples.*.jsonl"))) == 2
    assert read_samples(tmp_path) == all_problems(engine(), data, tiny.odd_start)


def test_the_trainers_generation_gives_the_same_greedy_responses(tmp_path):
    args = GRPOConfig(
        str(tmp_path),
        temperature=1.0,
        generation_kwargs={"do_sample": False},
        max_completion_length=12,
        per_device_train_batch_size=8,
        bf16=False,
        use_cpu=True,
        report_to="none",
    )
    data = tiny.problems(5)
    trainer = GRPOTrainer(
        tiny.model(), tiny.odd_start, args=args, train_dataset=data, processing_class=tiny.tiny_tokenizer()
    )
    theirs = all_problems(TrlGeneration(trainer), data, tiny.odd_start)
    assert theirs == all_problems(engine(temperature=0.0), data, tiny.odd_start)


@pytest.mark.parametrize(
    "setting", [{"top_k": 1}, {"repetition_penalty": 9.0}, {"suppress_tokens": list(range(4, 30))}, {"min_p": 0.9}]
)
def test_the_plain_policy_is_sampled_whatever_the_model_says_of_generation(setting, tmp_path):
    data = tiny.problems(5)
    args = GRPOConfig(str(tmp_path), max_completion_length=12, bf16=False, use_cpu=True, report_to="none")

    def sampled(setting):
        model = tiny.model()
        for name, value in setting.items():
            setattr(model.generation_config, name, value)
        own = TransformersGeneration(model, tiny.tiny_tokenizer(), max_new_tokens=12)
        trainer = GRPOTrainer(model, tiny.odd_start, args, data, processing_class=tiny.tiny_tokenizer())
        found = [all_problems(engine, data, tiny.odd_start) for engine in (own, TrlGeneration(trainer))]
        assert all(getattr(model.generation_config, name) == value for name, value in setting.items())
        return found

    assert sampled(setting) == sampled({})


def test_signs_that_some_take_for_line_ends_are_kept(tmp_path):
    signs = "a\u2028b\u2029c\x85d\x0be\x1cf"
    written = [
        SampledProblem(number, f"{signs}{number}", [1], [Sample(signs, [1, 2], True, answer=signs)])
        for number in range(2)
    ]
    write_samples(tmp_path / "samples.0.jsonl", written)
    assert read_samples(tmp_path) == written


def test_a_folder_without_samples_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no samples"):
        read_samples(tmp_path)


def test_every_token_that_the_model_gives_a_probability_is_sampled():
    generate = engine(max_new_tokens=1)
    with torch.no_grad():
        generate.model.lm_head.weight *= 1e-3  # all tokens are almost equally probable
    sampled = generate(["1 + 1 ="] * 512, 0)
    assert len({ids[0] for ids in sampled.completion_ids}) > 100  # of 135
