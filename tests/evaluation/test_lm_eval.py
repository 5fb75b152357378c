"""What a real lm-eval (0.4.13) logged for five sums is scored as what is generated here.

The log was made with `lm_eval run --model hf --log_samples` on the shipped model, two samples a problem.
"""

import json
from pathlib import Path

import pytest
import tiny

from k15_plugins import ExactMatchReward
from k15_plugins.evaluation.lm_eval import read_lm_eval
from k15_plugins.evaluation.statistics import summarize

LOG = Path(__file__).parent / "data" / "lm_eval_samples.jsonl"


def test_signs_that_some_take_for_line_ends_are_kept(tmp_path):
    signs = "\u2028\u2029\x85"
    lines = [json.loads(line) for line in LOG.read_text().splitlines()]
    lines[0]["resps"][0][0] += signs
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    problems = read_lm_eval(log, "sums", ExactMatchReward(), tiny.tiny_tokenizer(), lambda doc: doc["answer"])
    assert problems[0].samples[0].response.endswith(signs)


def test_what_lm_eval_generated_is_scored_by_ours():
    tokenizer = tiny.tiny_tokenizer()
    reward = ExactMatchReward()
    problems = read_lm_eval(LOG, "sums", reward, tokenizer, lambda doc: doc["answer"])
    lines = [json.loads(line) for line in LOG.read_text().splitlines()]
    assert [problem.problem for problem in problems] == list(range(5))
    for problem, line in zip(problems, lines, strict=True):
        assert problem.prompt == line["doc"]["prompt"]
        assert [sample.response for sample in problem.samples] == line["resps"][0]
        for sample in problem.samples:
            assert sample.right == sample.response.endswith(f"answer {line['doc']['answer']}")
            assert sample.tokens == len(sample.response.split()) + 1
            assert not sample.truncated
    figures = summarize(problems)["all"]
    assert figures["samples"] == 2
    assert 0 < figures["accuracy"] < 1
    short = read_lm_eval(LOG, "sums", reward, tokenizer, lambda doc: doc["answer"], max_new_tokens=20)
    assert 0 < summarize(short)["all"]["truncated"] < 1
    with pytest.raises(ValueError, match="got nowhere, which is none; set samples_"):
        read_lm_eval("nowhere", "sums", reward, tokenizer, lambda doc: doc["answer"])


@pytest.mark.parametrize(
    ("name", "doc", "right"),
    [
        ("aime_2024", {"Problem": "How much is $5+4$?", "Answer": "9"}, "9"),
        ("aime_2025", {"problem": "How much is $5+4$?", "answer": "9"}, "9"),
        ("math_500", {"problem": "Halve $1$.", "answer": "\\frac{1}{2}"}, "\\frac{1}{2}"),
        ("gsm8k", {"question": "Five and four?", "answer": "5 + 4 = <<5+4=9>>9\n#### 9"}, "9"),
        # lm-eval has an order of choices of its own.
        ("gpqa_diamond", {"Question": "Which?", "choices": ["that", "these", "this", "those"], "answer": "(C)"}, "C"),
    ],
)
def test_the_right_answer_in_lm_evals_document_of_a_benchmark(name, doc, right, tmp_path):
    line = {"doc_id": 0, "doc": doc, "arguments": {"gen_args_0": {"arg_0": "?"}}, "resps": [[f"answer {right}"]]}
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(line))
    (problem,) = read_lm_eval(log, name, ExactMatchReward(), tiny.tiny_tokenizer())
    assert problem.samples[0].right
    assert problem.task == name


def test_a_task_that_is_no_benchmark_needs_its_answers(tmp_path):
    with pytest.raises(
        ValueError, match=r"answer must be given where name is none of .*, got name='sums'; set a function"
    ):
        read_lm_eval(LOG, "sums", ExactMatchReward(), tiny.tiny_tokenizer())
