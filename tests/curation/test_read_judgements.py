"""Verdicts out of the files of runs."""

import json
import re

import pytest
from datasets import Dataset

from k15_plugins.curation.judgements import Judgement
from k15_plugins.curation.read_judgements import judgements_of, read_judgements
from k15_plugins.samples import Sample, SampledProblem, write_samples

PROBLEMS = Dataset.from_dict({"prompt": ["4 + 3 =", "9 - 2 ="], "answer": ["7", "7"]})
SAMPLED = [
    SampledProblem(1, "9 - 2 =", [1], [Sample("answer 7", [1], True), Sample("answer 6", [2], False)]),
    SampledProblem(0, "4 + 3 =", [1], [Sample("answer 8", [3], False)]),
]
ROLLOUT = {"problem": 0, "prompt": "4 + 3 =", "response": "answer 7", "right": True, "answer": "7", "reward": 1.0}


def test_samples_and_rollouts_are_read(tmp_path):
    write_samples(tmp_path / "samples.0.jsonl", SAMPLED[:1])
    write_samples(tmp_path / "samples.1.jsonl", SAMPLED[1:])
    found = read_judgements(tmp_path, PROBLEMS)
    assert found == judgements_of(SAMPLED, PROBLEMS)
    assert found[0] == Judgement("9 - 2 =", "7", "answer 7", True)
    rollouts = tmp_path / "rollouts.jsonl"
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "4 + 3 ="}]
    rollouts.write_text(json.dumps(ROLLOUT) + "\n" + json.dumps(ROLLOUT | {"prompt": messages, "right": False}) + "\n")
    assert read_judgements(rollouts, PROBLEMS) == [
        Judgement("4 + 3 =", "7", "answer 7", True),
        Judgement("Be short.\n4 + 3 =", "7", "answer 7", False),
    ]


SAMPLES = {"problem": 0, "prompt": "4 + 3 =", "samples": [{"response": "7", "right": True}]}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "4 + 3 =", "response": "7", "answer": "7"}, "line 2: right must be true or false, and is missing"),
        (ROLLOUT | {"right": 1.0}, "line 2: right must be true or false, got 1.0"),
        (ROLLOUT | {"answer": 7}, "line 2: answer must be the right answer, got 7"),
        ({"problem": 0}, "line 2: prompt must be the problem, and is missing"),
        (SAMPLES | {"samples": [{"response": "7"}]}, "line 2, sample 1: right must be true or false, and is missing"),
        (SAMPLES | {"samples": ["7"]}, "line 2, sample 1: response must be text, and is missing"),
        (SAMPLES | {"samples": 3}, "line 2: samples must be a list of samples, got 3"),
        (SAMPLES | {"problem": True}, "line 2: problem must be the row of a problem, got True"),
        (SAMPLES | {"problem": 1}, "line 2: problem must be a row of the task's problems, got 1 with the prompt"),
        (SAMPLES | {"problem": 9}, "line 2: problem must be a row of the task's problems, got 9"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(row, sentence, tmp_path):
    path = tmp_path / "found.jsonl"
    path.write_text(json.dumps(ROLLOUT) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=re.escape(f"{path}, {sentence}")):
        read_judgements(path, PROBLEMS)


@pytest.mark.parametrize("name", ["", "nothing.jsonl"])
def test_what_holds_no_samples_is_told(name, tmp_path):
    path = tmp_path / name
    with pytest.raises(ValueError, match=re.escape(f"stage.samples={path} must be a folder with samples")):
        read_judgements(path, PROBLEMS)
