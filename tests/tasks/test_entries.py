"""The text form of entries keeps what plain JSON loses."""

import json
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reasoning_gym.factory import DATASETS, create_dataset

from k15_plugins.tasks.entries import dump_entry, load_entry

keys = st.text() | st.integers() | st.tuples(st.integers(), st.text())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.fractions(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text().filter(lambda key: not key.startswith("__")), values))
def test_an_entry_comes_back_as_it_was(entry):
    back = load_entry(dump_entry(entry))
    assert back == entry
    assert repr(back) == repr(entry)  # (1,) == [1] is False, but 1 == 1.0 == True


def test_the_text_is_json():
    assert json.loads(dump_entry({"question": "?", "pair": (1, 2)}))["question"] == "?"


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - {"composite"}))
def test_an_entry_of_every_task_comes_back_as_it_was(name):
    entry = create_dataset(name, seed=1, size=1)[0]
    assert load_entry(dump_entry(entry)) == entry


def test_an_entry_with_a_fraction_comes_back_as_it_was():
    entry = create_dataset("gsm_symbolic", seed=1, size=600)[577]
    assert entry["metadata"]["variables"]["initial_fraction"] == Fraction(1, 3)
    assert load_entry(dump_entry(entry)) == entry
