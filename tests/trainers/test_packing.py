"""Packed rows hold every token once, and mixtures are exact to the token."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k15_plugins.trainers.packing import full_rows, mix_tokens, partial_rows


def texts(*lengths, start=0):
    """Documents in which no token comes twice."""
    found = []
    for length in lengths:
        found.append(list(range(start, start + length)))
        start += length
    return found


def documents_of(row):
    start = 0
    for length in row["seq_lengths"]:
        yield row["input_ids"][start : start + length]
        start += length
    assert start == len(row["input_ids"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 16))
def test_packing_loses_no_token_and_joins_no_documents(lengths, length):
    documents = texts(*lengths)
    rows = partial_rows(documents, length)
    assert max(len(row["input_ids"]) for row in rows) <= length
    pieces = [piece for row in rows for piece in documents_of(row)]
    assert Counter(token for piece in pieces for token in piece) == Counter(
        token for document in documents for token in document
    )
    for piece in pieces:
        assert any(piece == document[at : at + len(piece)] for document in documents for at in range(len(document)))


def test_full_rows_are_one_document_each():
    documents = texts(9, 1, 2, 3, 12)
    rows = full_rows(documents, 4)
    pieces = [documents[0][:4], documents[0][4:8], documents[2], documents[3]]
    pieces += [documents[4][at : at + 4] for at in (0, 4, 8)]
    assert [row["input_ids"] for row in rows] == pieces
    assert [row["seq_lengths"] for row in rows] == [[len(piece)] for piece in pieces]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(0, 5), st.floats(0.1, 10))
def test_a_mixture_is_exact_to_the_token(tokens, seed, weight):
    full = full_rows(texts(400), 8)
    partial = partial_rows(texts(*[3, 7, 2, 11, 5] * 15, start=1000), 8)
    data = mix_tokens({"full": full, "partial": partial}, {"full": weight, "partial": 1.5}, tokens, seed)
    counts = Counter()
    seen = []
    for row in data:
        list(documents_of(row))
        kind = "full" if row["input_ids"][0] < 1000 else "partial"
        counts[kind] += len(row["input_ids"])
        seen += row["input_ids"]
    assert sum(counts.values()) == tokens
    assert abs(counts["full"] - tokens * weight / (weight + 1.5)) <= 1
    assert len(set(seen)) == len(seen)


def test_forty_to_sixty_is_four_tenths():
    data = mix_tokens(
        {"full": full_rows(texts(4000), 100), "partial": partial_rows(texts(*[37] * 150, start=4000), 100)},
        {"full": 40, "partial": 60},
        5000,
    )
    assert sum(len(row["input_ids"]) for row in data if row["input_ids"][0] < 4000) == 2000


def test_a_source_that_is_short_is_refused_or_comes_again():
    rows = partial_rows(texts(10, 10), 10)
    with pytest.raises(
        ValueError, match=r"source a must have 25 tokens in such rows, got 20; give it more documents.*"
    ):
        mix_tokens({"a": rows}, {"a": 1}, 25)
    data = mix_tokens({"a": rows}, {"a": 1}, 45, repeat=True)
    assert Counter(Counter(token for ids in data["input_ids"] for token in ids).values()) == {2: 15, 3: 5}
    with pytest.raises(
        ValueError, match=r"source a must have 5 tokens in such rows, got 0; give it more documents, a"
    ):
        mix_tokens({"a": []}, {"a": 1}, 5, repeat=True)
