"""Rows as the engine takes them: each with its own tokens only, whatever the trainer has padded."""

from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """N prompts with their responses.

    Attributes:
        ids: Tokens of each row, the prompt and then the response, int64, on the CPU.
        response_tokens: How many of them, at the end, are the response.
        columns: What the loss needs beside log-probabilities, by name, shape (N,) or (N, C) with the columns of the
            responses, on the CPU.
    """

    ids: list[Tensor]
    response_tokens: list[int]
    columns: dict[str, Tensor]


def rows_of(input_ids_NT: Tensor, attention_mask_NT: Tensor, columns_C: int, columns: dict[str, Tensor]) -> Rows:
    """Take rows out of a padded batch of TRL.

    Megatron gives positions by place, so rows may be padded at their ends only.

    Args:
        input_ids_NT: Prompts, padded on the left, then responses, padded on the right.
        attention_mask_NT: 1 for their tokens.
        columns_C: Columns of the responses, the last ones; a response has one token or more.
        columns: As of `Rows`.
    """
    mask_NT = attention_mask_NT.bool().cpu()
    ids = [ids_T[mask_T] for ids_T, mask_T in zip(input_ids_NT.cpu(), mask_NT, strict=True)]
    response_tokens = mask_NT[:, -columns_C:].sum(dim=1).tolist()
    return Rows(ids, response_tokens, {name: values.detach().cpu() for name, values in columns.items()})


def as_columns(values_NC: Tensor, columns_C: int) -> Tensor:
    """Pad what the engine returned, which is as wide as the longest response, to the columns of a batch.

    Args:
        values_NC: Of the engine.
        columns_C: Of the batch.
    """
    return torch.nn.functional.pad(values_NC, (0, columns_C - values_NC.shape[1]))
