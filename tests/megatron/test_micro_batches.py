"""Every row is in one micro-batch, every replica has as many, and none is larger than is allowed."""

from hypothesis import given
from hypothesis import strategies as st

from k15_plugins.megatron.micro_batches import split_into_micro_batches


@given(
    lengths=st.lists(st.integers(1, 60), max_size=40),
    replicas=st.integers(1, 4),
    max_tokens=st.integers(1, 150),
    multiple_of=st.integers(1, 4),
)
def test_split(lengths, replicas, max_tokens, multiple_of):
    split = split_into_micro_batches(lengths, replicas, max_tokens, multiple_of)
    assert sorted(row for batches in split for batch in batches for row in batch) == list(range(len(lengths)))
    assert len(split) == replicas
    (number,) = {len(batches) for batches in split}
    assert number >= 1
    assert number % multiple_of == 0
    assert number < max(1, *(sum(map(bool, batches)) for batches in split)) + multiple_of
    for batches in split:
        filled = [batch for batch in batches if batch]
        assert batches[: len(filled)] == filled
        assert all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= max_tokens for batch in filled)
        in_order = [lengths[row] for batch in filled for row in batch]
        assert in_order == sorted(in_order, reverse=True)
        assert all((len(batch) + 1) * lengths[batch[0]] > max_tokens for batch in filled[:-1])
    loads = [sum(lengths[row] for batch in batches for row in batch) for batches in split]
    assert max(loads) - min(loads) <= max(lengths, default=0)


def test_equal_rows_are_shared_equally():
    assert split_into_micro_batches([5, 5, 5, 5], 2, 10) == [[[0, 2]], [[1, 3]]]
