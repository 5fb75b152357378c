"""Answers that have to be worked out, and their judgements."""

import pytest
from datasets import Dataset

from k15_plugins.rewards.judgement import judge_prompt, read_verdict
from k15_plugins.tasks.free_form import TEMPLATE, free_form_samples, write_judgement

PROBLEMS = Dataset.from_dict(
    {"prompt": ["4 + 3 =", "9 + 9 =", "3 - 5 =", "3 - 3 ="], "answer": ["7", "18", "-2", "0"]}
)


def test_answers_have_their_verdict_and_no_beginning_of_them_is_right():
    sampled = free_form_samples(PROBLEMS, num_samples=200)
    assert [problem.problem for problem in sampled] == [0, 3]  # answers of one digit
    for problem in sampled:
        reference = int(PROBLEMS[problem.problem]["answer"])
        assert sum(sample.right for sample in problem.samples) == 100
        for sample in problem.samples:
            words = sample.response.split()
            value = eval(sample.response)
            assert (value == reference) is sample.right
            assert abs(value - reference) <= 3
            assert all(eval(" ".join(words[:end])) != reference for end in range(1, len(words), 2))
    assert free_form_samples(PROBLEMS, seed=1) == free_form_samples(PROBLEMS, seed=1)
    assert free_form_samples(PROBLEMS, seed=1) != free_form_samples(PROBLEMS, seed=2)


def test_the_written_verdict_is_the_known_one():
    for problem in free_form_samples(PROBLEMS, num_samples=50):
        reference = PROBLEMS[problem.problem]["answer"]
        for sample in problem.samples:
            written = write_judgement(problem.prompt, reference, sample.response)
            assert read_verdict(written, reference) is sample.right


def test_a_judgement_works_out_and_compares():
    written = '7 - 4 is 3 . 3 + 2 is 5 . 5 - 5 is 0 . { "value" : 5 , "correct" : true }'
    assert write_judgement("", "5", "7 - 4 + 2") == written
    assert write_judgement("", "5", "7") == '7 - 5 is 2 . { "value" : 7 , "correct" : false }'


@pytest.mark.parametrize("response", [":", "Solution", "7 -", "7 - 4 +", "answer"])
def test_what_is_no_answer_is_unfinished(response):
    assert write_judgement("", "5", response) == 'unfinished { "correct" : false }'
    assert judge_prompt("2 + 3 =", "5", response, TEMPLATE) == f"2 + 3 = reference 5 response {response} judge"
