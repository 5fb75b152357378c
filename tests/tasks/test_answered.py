"""Rows with answers out of files: every format the same, and a wrong row refused with file and line."""

import gzip
import json

import pytest
from datasets import Dataset

from k15_plugins.tasks.answered import read_answered

CHAT = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
ROWS = [{"messages": CHAT}, {"messages": [{"role": "system", "content": "Add."}, *CHAT], "votes": [True, False]}]
TEXTS = [{"prompt": "1 + 1 =", "completion": " 2"}, {"prompt": "", "completion": "a story", "votes": [True]}]


def written(path, rows):
    if path.suffix == ".parquet":
        columns = {name for row in rows for name in row}
        Dataset.from_list([{name: row.get(name) for name in columns} for row in rows]).to_parquet(path)
    else:
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("rows", [ROWS, TEXTS])
@pytest.mark.parametrize(("name", "word"), [("a.jsonl", "line"), ("a.jsonl.gz", "line"), ("a.parquet", "row")])
def test_every_file_gives_the_same_rows_with_their_places(tmp_path, rows, name, word):
    path = written(tmp_path / name, [row | {"id": 7, "completion": row.get("completion")} for row in rows])
    assert list(read_answered(path)) == [(f"{path}, {word} {number}", row) for number, row in enumerate(rows, 1)]


def test_a_dataset_is_read_by_its_name(tmp_path):
    (tmp_path / "mine").mkdir()
    written(tmp_path / "mine" / "train.jsonl", TEXTS)
    assert [row for _, row in read_answered(tmp_path / "mine")] == TEXTS


def test_a_completion_may_be_messages(tmp_path):
    row = {"prompt": CHAT[:1], "completion": CHAT[1:]}
    assert [each for _, each in read_answered(written(tmp_path / "a.jsonl", [row]))] == [row]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"question": "1?"}, " must have prompt and completion, .* got the columns question; rename them"),
        ({"prompt": "1?"}, " must have prompt and completion, .* got the columns prompt; rename them"),
        ({"prompt": "1?", "completion": "2", "messages": CHAT}, " must have prompt and completion, "),
        ({"prompt": "1?", "completion": " \n"}, ": completion must not be empty, got no text; correct the row"),
        ({"prompt": "1?", "completion": CHAT[1:]}, ": prompt and completion must be both text or both messages"),
        ({"prompt": 1, "completion": 2}, ": prompt and completion must be both text or both messages, got 1 and 2"),
        ({"messages": "1?"}, ": prompt and completion must be both text or both messages"),
        ({"messages": []}, r": messages must begin with a question, got \[\]"),
        ({"messages": CHAT[1:]}, ": messages must begin with a question, got "),
        ({"messages": CHAT[:1]}, ": there must be a message of the role assistant to learn from, got none"),
        ({"prompt": CHAT[:1], "completion": CHAT[:1]}, ": there must be a message of the role assistant to learn"),
        (
            {"messages": [CHAT[0], {"role": "assistant", "content": ""}]},
            ": messages of the role assistant must not be",
        ),
        ({"messages": [CHAT[0], {"role": "assistant"}]}, ": a message must have role and content, both text, got "),
        ({"messages": CHAT, "tools": [{"name": "add"}]}, ": tools must be left out"),
    ],
)
def test_a_wrong_row_is_refused_with_file_and_line(tmp_path, row, sentence):
    path = written(tmp_path / "a.jsonl", [ROWS[0], row])
    with pytest.raises(ValueError, match=rf"a\.jsonl, line 2{sentence}"):
        list(read_answered(path))


def test_what_is_no_parquet_file_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_text("{}")
    with pytest.raises(ValueError, match=r"a\.parquet must be a parquet file, as its name says, got another"):
        list(read_answered(tmp_path / "a.parquet"))
    with pytest.raises(ValueError, match=r"path must be a file, got .*b\.parquet, which does not exist"):
        list(read_answered(tmp_path / "b.parquet"))
