"""Problems from JSONL files and Hub datasets."""

import json
import logging

import pytest

from k15_plugins.tasks.files import load_problems


@pytest.fixture
def write(tmp_path):
    def write(name, rows):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
        return path

    return write


def many(count):
    return [{"prompt": f"What is {n} + 1?", "answer": n + 1} for n in range(count)]


def test_a_file(write):
    path = write(
        "sums.jsonl", [{"prompt": "1 + 1", "answer": "2"}, "", {"prompt": " 2 + 2 ", "answer": 4, "more": None}]
    )
    train, held_out = load_problems(path, template="{prompt} =")
    assert train.to_list() == [
        {"prompt": "1 + 1 =", "answer": "2", "level": 0, "task": "sums"},
        {"prompt": " 2 + 2  =", "answer": "4", "level": 0, "task": "sums"},
    ]
    assert len(held_out) == 0
    assert held_out.column_names == train.column_names


def test_columns_levels_and_the_answer_within_its_column(write):
    rows = [{"question": "Q", "solution": "1 + 1 = 2\n#### 2", "hard": 3}]
    train, _ = load_problems(
        write("x.jsonl", rows),
        prompt_column="question",
        answer_column="solution",
        answer_pattern="#### (.+)",
        level_column="hard",
    )
    assert train[0] == {"prompt": "Q", "answer": "2", "level": 3, "task": "x"}


def test_the_domain_is_the_task(write):
    rows = [{"prompt": "a", "answer": 1, "of": "algebra"}, {"prompt": "b", "answer": 2, "of": " sets "}]
    assert load_problems(write("x.jsonl", rows), domain_column="of").train["task"][:] == ["algebra", "sets"]
    with pytest.raises(ValueError, match="line 1: 'of' must be text, and not empty, but is 3"):
        load_problems(write("x.jsonl", [{"prompt": "a", "answer": 1, "of": 3}]), domain_column="of")


def test_conversational(write):
    messages = [{"role": "user", "content": "1 + 1"}]
    path = write("x.jsonl", [{"prompt": "2 + 2", "answer": "4"}, {"prompt": messages, "answer": "2"}])
    train, _ = load_problems(path, conversational=True, system="Be brief.")
    system = {"role": "system", "content": "Be brief."}
    assert train["prompt"][:] == [[system, {"role": "user", "content": "2 + 2"}], [system, *messages]]


def test_a_share_is_held_out_by_the_prompt_alone(write):
    first = load_problems(write("a.jsonl", many(400)), held_out=0.2)
    assert len(first.train) + len(first.held_out) == 400
    assert 50 < len(first.held_out) < 110
    longer = load_problems(write("b.jsonl", many(800)[::-1]), held_out=0.2, template="Well: {prompt}")
    assert {f"Well: {prompt}" for prompt in first.held_out["prompt"]} <= {*longer.held_out["prompt"]}
    assert not {*longer.train["prompt"]} & {*longer.held_out["prompt"]}


def test_an_own_held_out_file(write):
    train, held_out = load_problems(write("a.jsonl", many(3)), held_out=write("b.jsonl", many(5)[3:]))
    assert (len(train), len(held_out)) == (3, 2)
    assert held_out["task"][:] == ["b", "b"]


def test_an_overlap_is_refused(write):
    with pytest.raises(ValueError, match=r"b.jsonl has 2 of its 4 problems in .*a.jsonl too, the first is 'What is 1"):
        load_problems(write("a.jsonl", many(3)), held_out=write("b.jsonl", many(5)[1:]))


def test_repeated_prompts_are_left_out_and_logged(write, caplog):
    with caplog.at_level(logging.WARNING):
        train, _ = load_problems(write("a.jsonl", [*many(3), *many(2)]))
    assert len(train) == 3
    assert "2 rows repeat the prompt" in caplog.text


def test_a_dataset_that_the_library_loads(write, tmp_path):
    write("sums/train.jsonl", many(4))
    write("sums/test.jsonl", many(7)[4:])
    train, held_out = load_problems(tmp_path / "sums", held_out=tmp_path / "sums", held_out_split="test")
    assert train["answer"][:] == ["1", "2", "3", "4"]
    assert held_out["answer"][:] == ["5", "6", "7"]
    assert {*train["task"]} == {"sums"}


GOOD = {"prompt": "1 + 1", "answer": "2"}


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([GOOD, "{"], {}, "a.jsonl, line 2 must be a JSON object, got "),
        ([GOOD, "", "[1]"], {}, r"a.jsonl, line 3 must be a JSON object, got '\[1\]'"),
        ([GOOD, {"prompt": "x"}], {}, r"line 2 has no column 'answer'; it has prompt \(set answer_column\)"),
        ([{"promt": "x", "answer": "2"}], {}, r"line 1 has no column 'prompt' \(did you mean 'promt'\?\)"),
        ([GOOD, {"prompt": " ", "answer": "2"}], {}, "line 2: 'prompt' must be text, and not empty, but is ' '"),
        ([{"prompt": None, "answer": "2"}], {}, "'prompt' must be text, and not empty, but is None"),
        ([{"prompt": [], "answer": "2"}], {"conversational": True}, r"must be text or messages .* but is \[\]"),
        ([{"prompt": [{"role": "user", "content": "x"}], "answer": "2"}], {}, "set conversational=true for messages"),
        ([GOOD, {"prompt": "x", "answer": ""}], {}, "line 2: 'answer' must be text or a number, and not empty"),
        ([{"prompt": "x", "answer": ["2"]}], {}, r"'answer' must be text or a number, and not empty, but is \['2'\]"),
        ([{"prompt": "x", "answer": True}], {}, "'answer' must be text or a number"),
        ([GOOD], {"answer_pattern": "#### (.+)"}, r"answer_pattern='#### \(\.\+\)' finds no answer in '2'"),
        ([GOOD], {"answer_pattern": "("}, "must be a regular expression, got"),
        ([{**GOOD, "level": -1}], {"level_column": "level"}, "line 1: 'level' must be an integer from 0"),
        ([{**GOOD, "level": "1"}], {"level_column": "level"}, "'level' must be an integer from 0 .* but is '1'"),
        ([""], {}, "path must have at least one row, got"),
        ([GOOD], {"held_out": 0.5}, "held_out=0.5 leaves"),
        ([GOOD], {"held_out": 1.5}, "held_out must be a share between 0 and 1, .* got 1.5"),
        ([GOOD], {"held_out": "no.jsonl"}, "got .*no.jsonl, which does not exist"),
        ([GOOD], {"template": "{question}"}, r"unknown field \{question\}.* it may use \{prompt\}"),
    ],
)
def test_what_cannot_be_is_refused(write, rows, options, message):
    with pytest.raises(ValueError, match=message):
        load_problems(write("a.jsonl", rows), **options)


def test_a_dataset_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"path=nobody/nothing \(subset None, split 'train'\) cannot be loaded"):
        load_problems("nobody/nothing")


def test_another_encoding_is_told_with_its_line_and_the_cure(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"prompt": "1", "answer": "2"}\n{"prompt": "é", "answer": "2"}\n'.encode("latin-1"))
    with pytest.raises(
        ValueError, match=r"latin\.jsonl, line 2 must be in UTF-8, got the byte 0xe9 at 13; convert the"
    ):
        load_problems(path)
    path.write_bytes(b"\xef\xbb\xbf" + b'{"prompt": "1", "answer": "2"}\n')
    assert load_problems(path).train["prompt"][:] == ["1"]


def test_no_path_at_all_is_refused():
    with pytest.raises(ValueError, match="path must be a file or the name of a data set, got None"):
        load_problems(None)
