"""Texts of a judge that are kept: the bound of memory, and a file that survives kills and several writers."""

import json
import multiprocessing

from hypothesis import given
from hypothesis import strategies as st

from k15_plugins.rewards.judge_cache import JudgeCache


def test_what_was_not_used_for_longest_is_forgotten():
    cache = JudgeCache("judge", 2)
    cache.put({"a": "1", "b": "2"})
    assert cache.get("a") == "1"
    cache.put({"c": "3"})
    assert [cache.get(each) for each in "abc"] == ["1", None, "3"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.text())), st.integers(1, 4))
def test_it_is_a_dictionary_that_forgets_the_oldest(steps, size):
    cache, order = JudgeCache("judge", size), []  # prompts, the last used at the end
    wanted = {}
    for prompt, text in steps:
        if text is None:
            assert cache.get(prompt) == (wanted[prompt] if prompt in order[-size:] else None)
            if prompt not in order[-size:]:
                continue
        else:
            cache.put({prompt: text})
            wanted[prompt] = text
        order = [each for each in order[-size:] if each != prompt] + [prompt]
        assert len(cache) <= size


@given(st.dictionaries(st.text(), st.text()))
def test_a_file_gives_back_what_was_written(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("cache") / "texts.jsonl"
    JudgeCache("judge", 100, path).put(texts)
    read = JudgeCache("judge", 100, path)
    assert {prompt: read.get(prompt) for prompt in texts} == texts
    assert JudgeCache("other", 100, path).get(next(iter(texts), "")) is None


def test_a_half_line_of_a_killed_process_costs_that_line_only(tmp_path):
    path = tmp_path / "texts.jsonl"
    JudgeCache("judge", 10, path).put({"a": "1", "b": "2"})
    path.write_bytes(path.read_bytes()[:-5])
    JudgeCache("judge", 10, path).put({"c": "3"})
    read = JudgeCache("judge", 10, path)
    assert [read.get(each) for each in "abc"] == ["1", None, "3"]


def test_foreign_lines_are_passed_over(tmp_path):
    path = tmp_path / "texts.jsonl"
    cache = JudgeCache("judge", 10, path)
    cache.put({"a": "1"})
    key = json.loads(path.read_text())["key"]
    lines = ["[" * 200_000, "7", json.dumps({"key": key, "text": 5}), json.dumps({"key": [], "text": ""})]
    path.write_text(path.read_text() + "\n".join(lines) + "\n")
    read = JudgeCache("judge", 10, path)
    assert read.get("a") == "1"
    assert len(read) == 1


def write_many(path, name):
    cache = JudgeCache("judge", 1000, path)
    for number in range(50):
        cache.put({f"{name} {number}": name * 3000})


def test_processes_that_write_at_once_keep_their_lines_apart(tmp_path):
    path = tmp_path / "texts.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(path, name)) for name in "xyz"]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    read = JudgeCache("judge", 1000, path)
    assert len(read) == 150
    assert all(read.get(f"{name} {number}") == name * 3000 for name in "xyz" for number in range(50))
