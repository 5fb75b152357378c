"""The stage that writes tests: what it leaves, how it goes on after a kill, and generators from a model."""

import json
import os
import signal
import time
from collections import Counter

import pytest
import yaml
from code_tests.ten_problems import FATES, NAMES, ROWS, write_file
from matplotlib.image import imread
from runs.test_cli_training import run, start

from k15_plugins.code_tests.funnel import funnel_of
from k15_plugins.code_tests.in_threads import in_threads
from k15_plugins.code_tests.reasons import Dropped, Reason
from k15_plugins.files.jsonl import append_lines, put_in_order, read_lines
from k15_plugins.report.funnel import draw_funnel
from k15_plugins.samples import Sample, SampledProblem
from k15_plugins.stages import write_tests as stage
from k15_plugins.stages.write_tests import write_tests
from k15_plugins.tasks.code_problems import load_code_problems

RULES = {"_target_": "k15_plugins.code_tests.rules.Rules", "cases": 3, "min_valid": 3, "repeats": 1}
SANDBOX = {"_target_": "k15_plugins.sandbox.BwrapSandbox"}
SMALL = ("stage.rules.cases=3", "stage.rules.min_valid=3", "+stage.rules.repeats=1")


def call(run_dir, problems, model=None, **options):
    run_dir.mkdir(exist_ok=True)
    config = {"seed": 0, "model": model}
    write_tests(config, run_dir, str(problems), RULES, SANDBOX, **{"workers": 2} | options)


def fake(problem, generator, sandbox, rules, seed):
    """A verdict without a program: the fate of the problem, at another time for each."""
    time.sleep(0.01 * (len(problem.id) % 4))
    if generator is None:
        raise Dropped(Reason.NO_GENERATOR, "none")
    if FATES[problem.id] is not None:
        raise Dropped(FATES[problem.id], "made up")
    tests = [{"input": generator, "output": "1\n"}]
    return {"id": problem.id, "prompt": problem.prompt, "tests": tests}


def results(run_dir):
    return [(run_dir / name).read_text() for name in ("problems.jsonl", "dropped.jsonl", "funnel.md", "metrics.jsonl")]


def test_one_command_writes_problems_that_the_task_reads(tmp_path):
    write_file(tmp_path / "untested.jsonl", "digit_sum", "mean", "parity")
    done = run(tmp_path, "+recipe=write_tests", "stage.problems=untested.jsonl", *SMALL, "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    assert "k15: 1 of 3 problems have tests now: out/problems.jsonl" in done.stdout
    assert "| enough submissions pass | 1 | 0.333 | 0.323 |" in done.stdout
    out = tmp_path / "out"
    assert [(line["id"], line["reason"]) for line in read_lines(out / "dropped.jsonl")] == [
        (name, FATES[name]) for name in ("digit_sum", "parity")
    ]
    assert load_code_problems(out / "problems.jsonl").train[0]["task"] == "problems"
    assert json.loads((out / "status.json").read_text())["figures"]["kept"] == 1
    page = (out / "report.html").read_text()
    assert "What became of the problems" in page
    assert imread(out / "pictures" / "funnel.png").shape[0] > 200


def test_a_run_that_is_killed_at_any_place_goes_on_to_the_same_files(tmp_path, monkeypatch, capsys):
    problems = write_file(tmp_path / "untested.jsonl")
    monkeypatch.setattr(stage, "verify_problem", fake)
    call(tmp_path / "whole", problems)
    whole = results(tmp_path / "whole")
    assert [json.loads(line)["id"] for line in whole[0].splitlines()] == [name for name in NAMES if not FATES[name]]
    assert json.loads(whole[3]) == {"step": 0, "iteration": 0, "problems": 10, "kept": 4, "dropped": 6}
    for lines in (0, 1, 3, 6, 9):
        stopped = tmp_path / f"stopped_{lines}"
        written = []

        def append(path, rows, written=written, lines=lines):
            if len(written) == lines:
                with path.open("a") as file:
                    file.write(json.dumps(rows[0])[:20])
                raise KeyboardInterrupt
            append_lines(path, rows)
            written.append(rows)

        asked = []

        def verify(problem, *rest, asked=asked):
            asked.append(problem.id)
            return fake(problem, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(stage, "append_lines", append)
            with pytest.raises(KeyboardInterrupt):
                call(stopped, problems)
        with monkeypatch.context() as patch:
            patch.setattr(stage, "verify_problem", verify)
            call(stopped, problems)
        assert results(stopped) == whole
        # two_summands is decided by its statement
        assert len(asked) == (9 if lines == 0 else 10 - lines)
        assert (f"{lines} of 10 problems are done already" in capsys.readouterr().out) == (lines > 0)
    before = results(stopped)
    call(stopped, problems)  # nothing is left to do
    assert results(stopped) == before


def test_generators_come_from_the_row_or_else_from_the_model(tmp_path, monkeypatch):
    rows = {
        name: ROWS[name] | {"generator": None} for name in ("mean", "max_subarray", "shortest_path", "two_summands")
    }
    rows["first_word"] = ROWS["first_word"]
    problems = tmp_path / "untested.jsonl"
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    monkeypatch.setattr(stage, "verify_problem", fake)
    call(tmp_path / "none", problems)
    dropped = {line["id"]: line["reason"] for line in read_lines(tmp_path / "none" / "dropped.jsonl")}
    assert dropped == dict.fromkeys(("mean", "max_subarray", "shortest_path"), Reason.NO_GENERATOR) | {
        "two_summands": Reason.SPECIAL_JUDGE_IN_STATEMENT
    }

    answers = ["```python\nprint(1)\n```", "I cannot do that.", "```python\nprint(3)\n```"]

    def collect(sampling, model, tokenizer, into):
        assert sampling.num_samples == 1
        assert sampling.config["reward"]["generator"]["_target_"].endswith("has_generator")
        prompts = list(sampling.problems["prompt"])
        assert [ROWS[name]["prompt"] in prompt[0]["content"] for name, prompt in zip(rows, prompts, strict=False)] == [
            True
        ] * 3
        return [
            SampledProblem(number, prompt, [1], [Sample(answer, [1], True)])
            for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
        ]

    monkeypatch.setattr(stage, "collect", collect)
    monkeypatch.setattr(stage, "build_model", lambda node, *problems: (None, None))
    call(tmp_path / "model", problems, model={"_target_": "some.model"})
    kept = {line["id"]: line["tests"][0]["input"] for line in read_lines(tmp_path / "model" / "problems.jsonl")}
    assert kept == {"mean": "print(1)\n", "shortest_path": "print(3)\n", "first_word": ROWS["first_word"]["generator"]}
    # The samples of the folder are for other statements now.
    monkeypatch.setattr(stage, "collect", lambda *_: [SampledProblem(0, "other", [1], [Sample("", [1], True)])] * 3)
    with pytest.raises(ValueError, match="holds generators for other problems"):
        call(tmp_path / "model", problems, model={"_target_": "some.model"})


def test_a_mistake_of_ours_ends_the_run(tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(stage, "verify_problem", broken)
    with pytest.raises(ZeroDivisionError):
        call(tmp_path / "run", write_file(tmp_path / "untested.jsonl", "mean"))


def test_threads_give_each_result_as_soon_as_it_is_there():
    began = time.monotonic()
    found = in_threads(lambda seconds: time.sleep(seconds) or -seconds, [0.3, 0.0, 0.1, 30.0], workers=3)
    assert [next(found) for _ in range(3)] == [(0.0, -0.0), (0.1, -0.1), (0.3, -0.3)]
    found.close()
    assert time.monotonic() - began < 20
    assert list(in_threads(str, [], workers=3)) == []


def test_lines_are_put_in_order(tmp_path):
    append_lines(tmp_path / "a.jsonl", [{"n": n, "text": "ü" * n} for n in (3, 1, 2)])
    put_in_order(tmp_path / "a.jsonl", lambda line: line["n"])
    assert [line["n"] for line in read_lines(tmp_path / "a.jsonl")] == [1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_the_funnel_counts_down_from_all_problems_to_the_kept_ones(tmp_path):
    every = funnel_of(4, Counter(dict.fromkeys(Reason, 1)))
    steps = list(every.steps().values())
    assert steps == [14, 13, 11, 7, 5, 4]  # each reason is taken off at one step
    assert every.table().count("| 1 |") == len(Reason)
    assert funnel_of(0, Counter()).steps()["enough submissions pass"] == 0
    draw_funnel(every, tmp_path / "full.png")
    draw_funnel(funnel_of(3, Counter()), tmp_path / "kept.png")
    assert imread(tmp_path / "full.png").shape[0] > imread(tmp_path / "kept.png").shape[0] > 200


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_problems(tmp_path):
    write_file(tmp_path / "untested.jsonl")
    words = ("+recipe=write_tests", "stage.problems=untested.jsonl", *SMALL)
    assert run(tmp_path, *words, "hydra.run.dir=whole").returncode == 0
    process = start(tmp_path, *words, "hydra.run.dir=out")
    out = tmp_path / "out"
    while len(read_lines(out / "problems.jsonl")) + len(read_lines(out / "dropped.jsonl")) < 4:
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = run(tmp_path, "resume=out")
    while "is in use" in done.stderr:
        done = run(tmp_path, "resume=out")
    assert done.returncode == 0, done.stderr
    assert "of 10 problems are done already" in done.stdout
    assert results(out) == results(tmp_path / "whole")
    assert yaml.safe_load((out / "config.yaml").read_text())["resume"] is not None
