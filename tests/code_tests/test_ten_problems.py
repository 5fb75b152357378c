"""Each of ten small problems meets the fate that it was made for."""

import pytest
from code_tests.ten_problems import FATES, NAMES, ROWS, write_file

from k15_plugins.code_tests.reasons import Dropped
from k15_plugins.code_tests.rules import Rules
from k15_plugins.code_tests.untested import read_untested
from k15_plugins.code_tests.verify_problem import verify_problem
from k15_plugins.sandbox.bwrap import BwrapSandbox
from k15_plugins.tasks.code_schemas import own

FEW = Rules(cases=4, min_valid=3, repeats=2)


@pytest.fixture(scope="module")
def sandbox():
    return BwrapSandbox()


def fate(name, sandbox, rules, tmp_path):
    """Why a problem is dropped, or its row."""
    (problem,) = read_untested(write_file(tmp_path / "untested.jsonl", name))
    assert len(problem.submissions) == 10
    try:
        return verify_problem(problem, problem.generator, sandbox, rules)
    except Dropped as why:
        return why


@pytest.mark.parametrize("name", NAMES)
def test_each_meets_its_fate(name, sandbox, tmp_path):
    found = fate(name, sandbox, FEW, tmp_path)
    check(found, name)
    if name == "first_word":
        assert found["provenance"]["flaky"] == 1
        assert found["provenance"]["passed"] == 9
    if name == "digit_sum":
        assert found.detail == "8 of 10 pass all 4 valid cases, 9 needed; 2 flaky submissions"
    if name == "fibonacci":
        assert found.detail.startswith("7 of 10 pass all 4 valid cases, 9 needed;")
        assert "runs timeout" in found.detail


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_meets_its_fate_by_the_numbers_of_the_paper(name, sandbox, tmp_path):
    found = fate(name, sandbox, Rules(), tmp_path)
    check(found, name)
    if FATES[name] is None:
        assert found["provenance"]["cases_made"] == 50


def check(found, name):
    if FATES[name] is not None:
        assert isinstance(found, Dropped), found["provenance"]
        assert found.reason is FATES[name], found
        return
    assert isinstance(found, dict), found
    problem = own(found)
    assert problem.prompt == ROWS[name]["prompt"]
    assert problem.cpu_seconds == ROWS[name]["cpu_seconds"]
    assert len({case.input for case in problem.tests}) == found["provenance"]["valid_cases"]
    assert all(output.strip() for case in problem.tests for output in case.outputs)
