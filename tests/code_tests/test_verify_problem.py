"""The verdict on a problem, from outcomes that are made up: the numbers, the reasons and their order."""

import json
from contextlib import contextmanager

import pytest

from k15_plugins.code_tests.reasons import Dropped, Reason
from k15_plugins.code_tests.rules import Rules
from k15_plugins.code_tests.untested import read_untested
from k15_plugins.code_tests.verify_problem import check_candidate, verify_problem
from k15_plugins.sandbox import Outcome, SandboxUnavailable, Status
from k15_plugins.tasks.code_schemas import own

RULES = Rules(cases=10, min_valid=8, tries=10)


class Script:
    """A sandbox whose programs are lines of Python on `n`; 'crash', 'slow' and 'coin' do what they say."""

    def __init__(self):
        self.opened = 0

    @contextmanager
    def open(self, program, limits=None):
        self.opened += 1
        yield self.Box(program, self.opened)

    class Box:
        def __init__(self, program, number):
            self.program, self.number = program, number

        def run(self, stdin=b"", *, arguments=(), files=None):
            if "generator.py" in self.program.files:
                return Outcome(Status.OK, f"{arguments[0]}\n".encode() + b"\0{}")
            source = self.program.source.partition("#")[0].strip()
            n = int(stdin)
            if "box" in source:
                return Outcome(Status.BOX_FAILED, stderr="no namespaces any more")
            if "slow" in source:
                return Outcome(Status.TIMEOUT, b"1")
            if "crash" in source and eval(source.partition("if")[2] or "True", {"n": n}):
                return Outcome(Status.FAILED, b"1", exit_code=1)
            if "coin" in source and eval(source.partition("if")[2] or "True", {"n": n}):
                return Outcome(Status.OK, str(self.number).encode())
            return Outcome(
                Status.OK, str(n if "crash" in source or "coin" in source else eval(source, {"n": n})).encode()
            )


def problem(tmp_path, *submissions, **fields):
    """A problem with these submissions, each told apart by a comment."""
    sources = [f"{source}  # {number}" for number, source in enumerate(submissions)]
    row = {"id": "p", "prompt": "Print n.", "submissions": sources, "generator": "g"} | fields
    (tmp_path / "u.jsonl").write_text(json.dumps(row) + "\n")
    return read_untested(tmp_path / "u.jsonl")[0]


def verdict(one, rules=RULES, generator="g", sandbox=None):
    try:
        return verify_problem(one, generator, sandbox or Script(), rules)
    except Dropped as why:
        return why.reason


@pytest.mark.parametrize(
    ("submissions", "reason"),
    [
        (["n"] * 10, None),
        (["n"] * 9 + ["n + 1"], None),
        (["n"] * 9 + ["coin"], None),
        (["n"] * 9 + ["slow"], None),
        (["n"] * 8 + ["n + 1"] * 2, Reason.TOO_FEW_PASS),
        (["n"] * 8 + ["n + (n == 9)"] * 2, Reason.TOO_FEW_PASS),  # one case of agreement 8 is enough for that
        (["n"] * 6 + ["n + (n > 6)"] * 4, Reason.TOO_FEW_VALID),  # 7 cases of 10
        (["n"] * 6 + ["n + (n > 7)"] * 4, None),  # 8 cases, which all ten pass
        (["n"] * 6 + ["n + (n > 7)"] * 3 + ["n"], Reason.TOO_FEW_PASS),
        (["n"] * 6 + ["coin"] * 4, Reason.FLAKY_SUBMISSIONS),
        (["n"] * 7 + ["coin"] * 3, Reason.TOO_FEW_PASS),
        (["n"] * 6 + ["n + 1"] + ["coin if n == 0"] * 3, Reason.TOO_FEW_VALID),  # they have no vote on other cases
        (["crash"] * 10, Reason.TOO_FEW_VALID),
        (["''"] * 10, Reason.TOO_FEW_VALID),  # nothing is no answer
        (["n", "n + 1", "n + 2"] * 3 + ["n"], Reason.SPECIAL_JUDGE_IN_OUTPUTS),
        (["n", "n + 1"] * 5, Reason.TOO_FEW_VALID),  # two answers may be one wrong idea
        (["n", "n + 1", "n + 2", "crash", "crash", "crash"] + ["slow"] * 4, Reason.TOO_FEW_VALID),
    ],
)
def test_the_rule_of_seven_and_nine(submissions, reason, tmp_path):
    found = verdict(problem(tmp_path, *submissions))
    assert (found if isinstance(found, Reason) else None) is reason


def test_invalid_cases_are_left_out_of_the_tests(tmp_path):
    found = verdict(problem(tmp_path, *["n"] * 6, *["crash if n < 2"] * 4, cpu_seconds=3, level=2))
    assert [test["input"] for test in found["tests"]] == [f"{n}\n" for n in range(2, 10)]
    assert found["provenance"] | {"generator_sha256": ""} == {
        "cyaron": "0.7.0",
        "generator_sha256": "",
        "cases_made": 10,
        "valid_cases": 8,
        "cases_by_agreement": {"10": 8},
        "distinct_outputs": 8,
        "submissions": 10,
        "passed": 10,
        "flaky": 0,
    }
    assert (own(found).cpu_seconds, own(found).level, own(found).checker) == (3, 2, "floats")


def test_fewer_submissions_are_refused_unless_told(tmp_path):
    few = problem(tmp_path, *["n"] * 4, "n + 1")
    assert verdict(few) is Reason.TOO_FEW_SUBMISSIONS
    told = Rules(cases=10, min_valid=8, tries=10, fewer_submissions=True)
    assert verdict(few, told) is Reason.TOO_FEW_PASS  # 9 of 10 is 5 of 5
    assert verdict(problem(tmp_path, *["n"] * 5), told)["provenance"]["passed"] == 5
    assert (told.of(7, 5), told.of(9, 5), told.of(7, 3), told.of(9, 10)) == (4, 5, 3, 9)
    with pytest.raises(Dropped, match="1 different submissions, 2 are needed"):
        check_candidate(problem(tmp_path, "n"), told)


def test_copies_of_a_program_have_one_vote(tmp_path):
    one = problem(tmp_path, "n")
    (tmp_path / "u.jsonl").write_text(json.dumps({"id": "p", "prompt": "x", "submissions": ["n"] * 12}) + "\n")
    assert len(read_untested(tmp_path / "u.jsonl")[0].submissions) == len(one.submissions) == 1


def test_of_more_submissions_the_same_ten_are_taken_each_time(tmp_path):
    many = problem(tmp_path, *["n"] * 30)
    chosen = many.chosen_submissions(10, 0)
    assert len(chosen) == len({program.source for program in chosen}) == 10
    assert many.chosen_submissions(10, 0) == chosen != many.chosen_submissions(10, 1)


def test_no_program_runs_for_what_its_statement_or_its_lack_decides(tmp_path):
    sandbox = Script()
    assert verdict(problem(tmp_path, *["n"] * 10), generator=None, sandbox=sandbox) is Reason.NO_GENERATOR
    any_of = problem(tmp_path, *["n"] * 10, prompt="Print any of them.")
    assert verdict(any_of, sandbox=sandbox) is Reason.SPECIAL_JUDGE_IN_STATEMENT
    assert sandbox.opened == 0


def test_a_box_that_fails_is_no_verdict_on_the_problem(tmp_path):
    with pytest.raises(SandboxUnavailable, match="no namespaces any more"):
        verify_problem(problem(tmp_path, *["n"] * 9, "box"), "g", Script(), RULES)


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"cases": 0}, "cases must be a whole number from 1, got 0"),
        ({"min_valid": 51}, "min_valid must be a whole number from 1 to 50, got 51"),
        ({"agree": 11}, "agree must be a whole number from 2 to 10, got 11"),
        ({"passing": True}, "passing must be a whole number from 1 to 10, got True"),
        ({"tries": 49}, "tries must be a whole number from 50, got 49"),
        ({"cases": 2.5}, "cases must be a whole number from 1, got 2.5"),
    ],
)
def test_numbers_that_cannot_be_are_refused(numbers, sentence):
    with pytest.raises(ValueError, match=sentence):
        Rules(**numbers)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"id": ""}, "line 1: id must be text that is not empty, got ''"),
        ({"prompt": 3}, "line 1: prompt must be text"),
        ({"tests": []}, "line 1: a problem has no field 'tests'; it has id, prompt, submissions"),
        ({"submissions": "print(1)"}, "line 1: submissions must be a list of programs"),
        ({"submissions": ["a", " "]}, r"line 1: submissions\[1\] must be the source of a program"),
        ({"submissions": [{"source": "a"}]}, r"submissions\[0\].language must be python or cpp, got None"),
        ({"submissions": [{"language": "rust", "source": "a"}]}, "must be python or cpp, got 'rust'"),
        ({"generator": 5}, "generator must be the source of a Python program, got 5"),
        ({"cpu_seconds": 0}, "cpu_seconds must be a number above 0, got 0"),
        ({"language": "java"}, "language must be python or cpp, got 'java'"),
        ({"level": -1}, "level must be a whole number from 0, got -1"),
    ],
)
def test_a_wrong_row_is_refused_with_its_place(row, sentence, tmp_path):
    right = {"id": "p", "prompt": "Print n.", "submissions": ["print(1)"]}
    (tmp_path / "u.jsonl").write_text(json.dumps(right | row) + "\n")
    with pytest.raises(ValueError, match=sentence):
        read_untested(tmp_path / "u.jsonl")


def test_two_problems_of_one_name_or_statement_are_refused(tmp_path):
    row = {"id": "p", "prompt": "Print n.", "submissions": ["print(1)"]}
    for other, name in (({"prompt": "Print m."}, "id"), ({"id": "q"}, "prompt")):
        (tmp_path / "u.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row | other) + "\n")
        with pytest.raises(ValueError, match=f"line 2: {name} must name one problem"):
            read_untested(tmp_path / "u.jsonl")
    (tmp_path / "u.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="must hold at least one problem"):
        read_untested(tmp_path / "u.jsonl")
