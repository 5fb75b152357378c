"""Rows out of a padded batch of TRL, and back to its columns."""

import torch

from k15_plugins.megatron.rows import as_columns, rows_of


def test_rows_have_their_own_tokens_only():
    prompts = torch.tensor([[0, 0, 11], [12, 13, 14], [0, 15, 16]])
    prompt_mask = torch.tensor([[0, 0, 1], [1, 1, 1], [0, 1, 1]])
    responses = torch.tensor([[21, 22, 23, 24], [25, 0, 26, 0], [27, 28, 29, 30]])
    # A token may have the padding's id; the last row only fills the batch.
    response_mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0]])
    advantages = torch.randn(3, requires_grad=True)
    rows = rows_of(
        torch.cat([prompts, responses], dim=1),
        torch.cat([prompt_mask, response_mask], dim=1),
        4,
        {"advantages": advantages, "mask": response_mask},
    )
    assert [ids.tolist() for ids in rows.ids] == [[11, 21, 22, 23, 24], [12, 13, 14, 25, 0, 26], [15, 16]]
    assert rows.response_tokens == [4, 3, 0]
    assert not rows.columns["advantages"].requires_grad
    assert torch.equal(rows.columns["mask"], response_mask)


def test_figures_are_padded_to_the_columns_of_the_batch():
    assert as_columns(torch.ones(2, 3), 5).tolist() == [[1, 1, 1, 0, 0]] * 2
