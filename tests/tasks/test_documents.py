"""Documents from files, and those that Python brings along."""

import json

import pytest
from datasets import Dataset

from k15_plugins.tasks.documents import answered_questions, english, python_sources, read_documents


def test_documents_are_read_from_json_lines_and_parquet(tmp_path):
    texts = ["One.\nTwo.", "\u2028three"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text, "n": 1}) + "\n" for text in texts))
    Dataset.from_dict({"content": texts}).to_parquet(tmp_path / "a.parquet")
    assert read_documents(str(tmp_path / "a.jsonl")) == texts
    assert read_documents(str(tmp_path / "a.parquet"), column="content") == texts


def test_what_cannot_be_read_is_told_by_its_place(tmp_path):
    with pytest.raises(ValueError, match=r"path=none\.jsonl must be a file of documents, which does not exist"):
        read_documents("none.jsonl")
    with pytest.raises(ValueError, match=r"path=none\.parquet must be a file of documents, which does not exist"):
        read_documents("none.parquet")
    file = tmp_path / "a.jsonl"
    file.write_text("")
    with pytest.raises(ValueError, match=r"a\.jsonl must hold documents, got none"):
        read_documents(str(file))
    for text in ("", None, 3):
        file.write_text('{"text": "fine"}\n' + json.dumps({"text": text}) + "\n")
        with pytest.raises(ValueError, match=r"a\.jsonl, line 2: text must be text, got"):
            read_documents(str(file))
    Dataset.from_dict({"content": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet, row 1 has no column 'text'; it has content"):
        read_documents(str(tmp_path / "a.parquet"))


def test_python_brings_documents_along():
    assert 3e5 < sum(map(len, english())) < 2e6
    assert english() == english()
    code = python_sources(size=50_000)
    assert sum(map(len, code)) >= 50_000
    assert all("\n" in text for text in code[1:])


def test_questions_are_answered_and_a_wrong_task_is_told():
    (first, second) = answered_questions("chain_sum", 2, min_terms=2, max_terms=2)
    assert first != second
    question, answer = first.rsplit("\n", 1)
    assert "+" in question or "-" in question
    assert str(int(answer)) == answer
    with pytest.raises(ValueError, match="task must be one of reasoning-gym with its settings, got 'chainsum'"):
        answered_questions("chainsum", 2)
    with pytest.raises(ValueError, match=r"got 'chain_sum' \{'terms': 3\}"):
        answered_questions("chain_sum", 2, terms=3)
