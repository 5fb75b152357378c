"""Programming problems: every schema, the places of their rows, and what is refused."""

import base64
import json
import pickle
import zlib

import pytest
from evaluation.test_code_benchmarks import CASES

from k15_plugins.tasks.code_places import READERS, Place, read_problem
from k15_plugins.tasks.code_problems import load_code_problems
from k15_plugins.tasks.code_schemas import Case

OWN = {"id": "sum", "prompt": "Add two numbers.", "tests": [{"input": "1 2\n", "output": "3\n"}]}


def packed(tests):
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def write(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_has_the_place_of_its_problem_and_none_of_its_tests(tmp_path):
    rows = [OWN | {"id": f"p{n}", "prompt": f"Übung {n}", "level": n} for n in range(5)]
    file = write(tmp_path / "sums.jsonl", *rows)
    file.write_bytes(b"\n" + file.read_bytes())  # an empty line moves all the others
    train, held_out = load_code_problems(file, template="{prompt}")
    assert train["prompt"] == [f"Übung {n}" for n in range(5)]
    assert train["level"] == list(range(5))
    assert set(train["task"]) == {"sums"}
    assert set(train.column_names) == {"prompt", "level", "task", "problem"}
    assert len(held_out) == 0
    for n, text in enumerate(train["problem"]):
        found = read_problem(Place.load(text))
        assert (found.id, found.tests) == (f"p{n}", (Case("1 2\n", ("3\n",)),))


def test_a_file_that_has_changed_is_not_read(tmp_path):
    file = write(tmp_path / "sums.jsonl", OWN)
    place = Place.load(load_code_problems(file).train["problem"][0])
    write(file, OWN | {"id": "other"})
    with pytest.raises(ValueError, match="must not change while a run reads it"):
        read_problem(place)


def test_a_corrected_test_is_read(tmp_path):
    file = write(tmp_path / "sums.jsonl", OWN)
    assert read_problem(Place.load(load_code_problems(file).train["problem"][0])).tests[0].outputs == ("3\n",)
    write(file, OWN | {"tests": [{"input": "1 2\n", "output": "4\n"}]})
    assert read_problem(Place.load(load_code_problems(file).train["problem"][0])).tests[0].outputs == ("4\n",)


def test_held_out(tmp_path):
    file = write(tmp_path / "a.jsonl", *[OWN | {"id": str(n), "prompt": str(n)} for n in range(50)])
    other = write(tmp_path / "b.jsonl", OWN)
    train, held_out = load_code_problems(file, held_out=0.3)
    assert 5 < len(held_out) < 25
    assert not set(train["prompt"]) & set(held_out["prompt"])
    assert len(load_code_problems(file, held_out=other).held_out) == 1
    with pytest.raises(ValueError, match="has 1 of its 1 problems in"):
        load_code_problems(other, held_out=other)


APPS = {
    "problem_id": 7,
    "question": "Double it.",
    "input_output": json.dumps({"inputs": [[[1, 2]], [[]]], "outputs": [[[2, 4]], []], "fn_name": "double"}),
    "difficulty": "interview",
    "starter_code": "def double(a):",
    "solutions": "[]",
    "url": "",
}
CONTESTS = {
    "name": "1_A",
    "description": "Add.",
    "public_tests": {"input": ["1 2"], "output": ["3"]},
    "private_tests": {"input": [], "output": []},
    "generated_tests": {"input": ["5 5"], "output": ["10"]},
    "difficulty": 7,
    "time_limit": {"seconds": 1, "nanos": 500_000_000},
    "memory_limit_bytes": 256_000_000,
}
CODEFORCES = {
    "id": "4/A",
    "description": "Split a melon.",
    "input_format": "w",
    "output_format": "YES or NO",
    "interaction_format": None,
    "note": "",
    "examples": [{"input": "8", "output": "YES"}],
    "official_tests": [{"input": "8\n", "output": "YES\n"}, {"input": "3\n", "output": "NO\n"}],
    "time_limit": 1.0,
    "memory_limit": 64.0,
    "rating": 1100,
    "input_mode": "stdio",
    "generated_checker": None,
}
LCB = {
    "question_id": "abc301_a",
    "question_content": "Who won?",
    "starter_code": "",
    "difficulty": "medium",
    "public_test_cases": json.dumps([{"input": "AT", "output": "T", "testtype": "stdin"}]),
    "private_test_cases": packed([{"input": "TA", "output": "A", "testtype": "stdin"}]),
    "metadata": "{}",
}


def test_the_public_schemas():
    apps = READERS["apps"](APPS)
    assert (apps.id, apps.function, apps.checker, apps.level) == ("7", "double", "value", 1)
    assert apps.tests == (Case("[1, 2]", ("[[2, 4]]", "[2, 4]")), Case("[]", ("[]",)))
    assert apps.prompt.endswith("Begin with:\ndef double(a):")
    lines = READERS["apps"](
        APPS | {"input_output": json.dumps({"inputs": ["1\n", ["1", "2"]], "outputs": ["2", ["3"]]})}
    )
    assert lines.tests == (Case("1\n", ("2",)), Case("1\n2", ("3",)))
    contests = READERS["code_contests"](CONTESTS)
    assert (contests.id, contests.cpu_seconds, contests.memory_mb) == ("1_A", 1.5, 244)
    assert contests.tests == (Case("1 2", ("3",)), Case("5 5", ("10",)))
    codeforces = READERS["codeforces"](CODEFORCES)
    assert (codeforces.cpu_seconds, codeforces.memory_mb, codeforces.level) == (1.0, 64, 3)
    assert len(codeforces.tests) == 2
    assert "Input\nw" in codeforces.prompt
    assert READERS["codeforces"](CODEFORCES | {"generated_checker": "print(1)"}).checker == "program"
    lcb = READERS["livecodebench"](LCB)
    assert lcb.tests == (Case("AT", ("T",)), Case("TA", ("A",)))
    assert (lcb.checker, lcb.cpu_seconds, lcb.level) == ("lines", 6.0, 1)
    plain = LCB | {"private_test_cases": json.dumps([]), "metadata": json.dumps({"func_name": "f"})}
    assert READERS["livecodebench"](plain).function == "f"


ROWS = {"own": OWN, "apps": APPS, "code_contests": CONTESTS} | {name: row for name, (row, _, _) in CASES.items()}
WRONG = [
    None,
    "",
    0,
    -1,
    1.5,
    True,
    "abc",
    [],
    [1],
    [None],
    {},
    {"a": 1},
    [{"input": 1}],
    {"input": [1], "output": [2]},
]
WRONG += ['{"a": 1}', "[1]", "null", "1", float("nan"), 10**400, '{"inputs": [1], "outputs": [2]}']


@pytest.mark.parametrize("schema", READERS)
def test_whatever_stands_in_a_field_a_row_is_read_or_refused_with_its_name(schema):
    refused = []
    for field in ROWS[schema]:
        rows = [ROWS[schema] | {field: wrong} for wrong in WRONG]
        for row in [*rows, {key: value for key, value in ROWS[schema].items() if key != field}]:
            try:
                READERS[schema](row)
            except ValueError as error:
                refused.append((field, str(error)))
    assert len(refused) > 20
    for field, told in refused:
        assert field.partition("_")[0] in told, field
        assert "\n" not in told


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("schema", "row", "message"),
    [
        ("own", OWN | {"tests": []}, "tests must hold at least one test"),
        ("own", {"id": "a", "prompt": "b"}, "tests is missing; the row has id, prompt"),
        ("own", OWN | {"tests": "x"}, "tests must be a list, got 'x'"),
        ("own", OWN | {"tests": [{"input": "1"}]}, r"tests\[0\] must have an output"),
        ("own", OWN | {"tests": [{"input": 1, "output": "1"}]}, r"tests\[0\] must have an input that is text"),
        ("own", OWN | {"tests": [{"input": "1", "output": []}]}, r"tests\[0\] must have an output"),
        ("own", OWN | {"function": "f"}, r"tests\[0\] must have a list of arguments"),
        ("own", OWN | {"language": "rust"}, "language must be python or cpp, got 'rust'"),
        ("own", OWN | {"checker": "fuzzy"}, "checker must be one of exact, tokens"),
        ("own", OWN | {"checker": "program"}, "checker_source must be the program"),
        ("own", OWN | {"checker_source": "print(1)"}, "checker_source must be the program"),
        (
            "own",
            OWN | {"function": "f.__class__", "tests": [{"input": [1], "output": 1}]},
            r"function must be a name of Python, got 'f\.__class__'",
        ),
        (
            "own",
            OWN | {"checker": "program", "checker_source": "def f(:"},
            "checker_source must be a program in Python, got one with invalid syntax",
        ),
        ("own", OWN | {"cpu_seconds": -1}, "cpu_seconds must be a number"),
        ("own", OWN | {"cpu_seconds": float("nan")}, "cpu_seconds must be a number"),
        ("own", OWN | {"memory_mb": 0.5}, "memory_mb must be a whole number from 1, got 0.5"),
        ("own", OWN | {"level": 1.7}, "level must be a whole number from 0, got 1.7"),
        ("own", OWN | {"level": -1}, "level must be a whole number from 0, got -1"),
        ("own", OWN | {"time_limit": 1}, "a problem has no field 'time_limit'"),
        ("own", OWN | {"prompt": " "}, "prompt must be text, and not empty"),
        ("own", OWN | {"id": ""}, "id must be text, and not empty"),
        ("apps", APPS | {"input_output": ""}, "input_output must be JSON"),
        ("apps", APPS | {"input_output": '{"inputs": ["1"], "outputs": []}'}, "must have an output for each"),
        ("apps", APPS | {"input_output": '{"inputs": []}'}, "outputs is missing"),
        ("codeforces", CODEFORCES | {"interaction_format": "ask"}, "cannot talk to a judge"),
        ("codeforces", CODEFORCES | {"input_mode": "file"}, "input_mode must be 'stdio', got 'file'"),
        ("livecodebench", LCB | {"private_test_cases": "!"}, "private_test_cases must be JSON, or base64"),
        (
            "livecodebench",
            LCB | {"private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode()},
            "private_test_cases must hold text only, got builtins.print",
        ),
    ],
)
def test_a_wrong_row_is_told_with_its_line_and_field(tmp_path, schema, row, message):
    file = write(
        tmp_path / "rows.jsonl", {"own": OWN, "apps": APPS, "codeforces": CODEFORCES, "livecodebench": LCB}[schema]
    )
    with file.open("a") as more:
        more.write(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=rf"rows.jsonl, line 2: .*{message}"):
        load_code_problems(file, schema=schema)


def test_what_no_row_is_to_blame_for(tmp_path):
    file = write(tmp_path / "a.jsonl", OWN, OWN)
    with pytest.raises(ValueError, match="line 2: id must name one problem"):
        load_code_problems(file)
    with pytest.raises(ValueError, match=r"line 2: the prompt of 'b' is that of an earlier line"):
        load_code_problems(write(file, OWN, OWN | {"id": "b"}))
    with pytest.raises(ValueError, match="must hold at least one problem"):
        load_code_problems(write(file))
    with pytest.raises(ValueError, match="schema must be one of own, apps"):
        load_code_problems(file, schema="taco")
    with pytest.raises(ValueError, match="does not exist"):
        load_code_problems(tmp_path / "none.jsonl")
