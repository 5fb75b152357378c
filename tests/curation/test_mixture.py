"""Mixtures are exact, whatever the weights; what cannot be mixed is refused with the numbers."""

from collections import Counter

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from k15_plugins.curation.mixture import exact_counts, in_use, largest_size, mix

PAPER = {"general": 500, "code": 200, "math": 200, "writing": 5, "long_context": 20}
WEIGHTS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=2),
    st.integers(1, 1000) | st.floats(1e-3, 1e3),
    min_size=1,
    max_size=6,
)
ROWS = st.integers(1, 60)


def rows(name: str, number: int) -> Dataset:
    return Dataset.from_dict({"source": [name] * number, "row": list(range(number))})


def test_the_papers_parts_are_exact():
    assert exact_counts(PAPER, 925) == PAPER
    assert exact_counts(PAPER, 9250) == {name: 10 * weight for name, weight in PAPER.items()}
    # 100 rows: 54.05, 21.62, 21.62, 0.54, 2.16; two are left over, for the two largest remainders.
    assert exact_counts(PAPER, 100) == {"general": 54, "code": 22, "math": 22, "writing": 0, "long_context": 2}


@given(WEIGHTS, st.integers(0, 10_000))
def test_counts_are_within_one_row_of_the_weights_and_sum_up(weights, size):
    counts = exact_counts(weights, size)
    assert sum(counts.values()) == size
    assert list(counts) == list(weights)
    for name, weight in weights.items():
        assert abs(counts[name] - size * weight / sum(weights.values())) < 1 + 1e-6


@given(WEIGHTS, st.integers(0, 10_000), st.sampled_from([3, 10, 1024]))
def test_the_unit_of_the_weights_does_not_matter(weights, size, factor):
    whole = {name: round(weight) + 1 for name, weight in weights.items()}
    assert exact_counts(whole, size) == exact_counts({name: factor * weight for name, weight in whole.items()}, size)


@given(WEIGHTS, st.data())
def test_the_largest_size_fits_and_the_next_does_not(weights, data):
    have = {name: data.draw(ROWS) for name in weights}
    size = largest_size(weights, have)
    assert all(count <= have[name] for name, count in exact_counts(weights, size).items())
    for more in range(1, 12):
        assert any(count > have[name] for name, count in exact_counts(weights, size + more).items())


@settings(max_examples=25, deadline=None)
@given(WEIGHTS, st.integers(1, 40), st.integers(0, 3), st.data())
def test_a_mixture_has_the_counts_and_no_row_twice(weights, size, seed, data):
    sources = {name: rows(name, data.draw(st.integers(size, 50))) for name in weights}
    mixed = mix(sources, weights, size, seed)
    found = Counter(mixed["source"])
    assert {name: found[name] for name in weights} == exact_counts(weights, size)
    assert len(set(zip(mixed["source"], mixed["row"], strict=True))) == size
    assert mixed[:] == mix(sources, weights, size, seed)[:]


def test_a_seed_changes_rows_and_order():
    sources = {"a": rows("a", 50), "b": rows("b", 50)}
    first, second = (mix(sources, {"a": 1, "b": 1}, 20, seed)[:] for seed in (0, 1))
    assert first != second
    assert set(zip(*first.values(), strict=True)) != set(zip(*second.values(), strict=True))
    assert first["source"] not in (["a"] * 10 + ["b"] * 10, ["b"] * 10 + ["a"] * 10)


def test_a_source_that_is_null_or_weighs_nothing_is_left_out():
    sources = {"general": rows("general", 9), "code": None, "math": rows("math", 9)}
    assert set(mix(sources, {"general": 2, "code": 5, "math": 1}, 6)["source"]) == {"general", "math"}
    assert Counter(mix(sources, {"general": 2, "code": 5, "math": 1})["source"]) == {"general": 9, "math": 5}
    assert set(mix(sources, {"general": 2, "code": 5, "math": 0}, 6)["source"]) == {"general"}


def test_a_short_source_is_refused_with_its_numbers():
    sources = {"general": rows("general", 500), "math": rows("math", 7)}
    with pytest.raises(
        ValueError, match=r"source math must have 20 rows for a mixture of 40, got 7; .* set size=15, or"
    ):
        mix(sources, {"general": 1, "math": 1}, 40)


def test_a_short_source_comes_again_when_asked():
    mixed = mix({"a": rows("a", 5), "b": rows("b", 50)}, {"a": 1, "b": 1}, 26, repeat=True)
    times = Counter(row for source, row in zip(mixed["source"], mixed["row"], strict=True) if source == "a")
    assert sorted(times.values()) == [2, 2, 3, 3, 3]  # whole passes, and a part of another
    assert len({row for source, row in zip(mixed["source"], mixed["row"], strict=True) if source == "b"}) == 13


@pytest.mark.parametrize(
    ("sources", "weights", "sentence"),
    [
        ({"a": 1}, {"a": -1}, "weights.a must be 0 or more, got -1; set 0"),
        ({"a": 1}, {"a": float("nan")}, "weights.a must be 0 or more, got nan"),
        ({"a": 1, "b": 1}, {"a": 0, "b": 0}, "weights must be above 0 for a source that is there, got"),
        ({"a": None, "b": 1}, {"a": 1, "b": 0}, "for the sources b; raise one"),
        ({"a": None}, {"a": 1}, "for the sources none; raise one"),
        ({"a": 1, "b": 1}, {"a": 1}, "weights must have one for each source, got none for b"),
        ({"a": 1}, {"a": 1, "mth": 2}, "weights.mth must belong to a source, got 2 without one"),
    ],
)
def test_weights_that_cannot_be_are_refused(sources, weights, sentence):
    with pytest.raises(ValueError, match=sentence):
        in_use(sources, weights)


def test_no_rows_and_no_size_are_refused():
    with pytest.raises(ValueError, match="source a must have rows, got none; give it some"):
        mix({"a": rows("a", 0)}, {"a": 1})
    with pytest.raises(ValueError, match="size must be 1 or more, got 0"):
        mix({"a": rows("a", 3)}, {"a": 1}, 0)
