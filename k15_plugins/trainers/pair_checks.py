"""The data that the DPO trainer is given, checked before it trains."""

from typing import Any

import pyarrow.compute as pc
import torch
from datasets import Dataset, IterableDataset

from k15_plugins.trainers.reward_checks import check_reward_func

# What a reward function is given here beside the columns.
_PASSED = ("prompts", "completions", "completion_ids")
SAMPLED = {"prompt_ids", "chosen_ids", "rejected_ids"}
"""Columns of pairs that hold tokens."""


def checked_pairs(data: Any) -> Dataset | IterableDataset:
    """Return pairs that can be trained on.

    Args:
        data: The trainer's `train_dataset`.

    Raises:
        ValueError: Naming what is wrong with it.
    """
    if not isinstance(data, Dataset | IterableDataset):
        raise ValueError(
            f"train_dataset must be a Dataset of pairs, got {data!r:.100}; give "
            "Dataset.from_list(preference_pairs(problems))."
        )
    if isinstance(data, Dataset) and not len(data):
        raise ValueError(
            "train_dataset must hold at least one pair, got none; sample more responses to each problem, or lower the "
            "ratio of preference_pairs."
        )
    columns = set(data.column_names or SAMPLED)  # of a stream nobody may know them
    if not columns >= SAMPLED and not columns >= {"chosen", "rejected"}:
        raise ValueError(
            f"train_dataset must have the columns chosen and rejected, got {', '.join(data.column_names or [])}; give "
            "Dataset.from_list(preference_pairs(problems))."
        )
    if isinstance(data, Dataset):
        _check_members(data)
    return data


def _check_members(data: Dataset) -> None:
    table = data.with_format("arrow")[:]
    for name in ("chosen", "rejected"):
        if name in table.column_names and (missing := table[name].null_count):
            raise ValueError(
                f"train_dataset must have a {name} response in every row, got {missing} without; mend it."
            )
        ids = f"{name}_ids"
        if ids in table.column_names and (empty := pc.sum(pc.equal(pc.list_value_length(table[ids]), 0)).as_py()):
            raise ValueError(f"train_dataset must have tokens in every row of {ids}, got {empty} without; mend it.")


def check_vocabulary(pairs: Any, model: Any) -> None:
    """Refuse tokens that the model has no embedding for: a GPU would end in an error of CUDA, which names nothing.

    Args:
        pairs: As the trainer is given them.
        model: Likewise.

    Raises:
        ValueError: Naming the column and the token.
    """
    if not isinstance(pairs, Dataset) or not isinstance(model, torch.nn.Module):
        return
    embedding: Any = model.get_input_embeddings  # of transformers and of peft
    size = embedding().num_embeddings
    table = pairs.with_format("arrow")[:]
    for name in SAMPLED & set(table.column_names):
        ids = pc.list_flatten(table[name])
        if len(ids) and (bad := [end for end in pc.min_max(ids).as_py().values() if not 0 <= end < size]):
            raise ValueError(
                f"{name} of train_dataset must be tokens of the model, from 0 to {size - 1}, got {bad[-1]}; give "
                "pairs that were sampled with the model's own tokenizer."
            )


def check_held_out(held_out: Any, reward_func: Any, args: Any) -> None:
    """Refuse held-out problems that cannot be measured on, and options without them.

    Args:
        held_out: Problems, or None.
        reward_func: Tells right answers.
        args: A `Long2ShortDPOConfig`.

    Raises:
        ValueError: Naming the argument.
    """
    if held_out is None:
        for name, value in (("reward_func", reward_func), ("held_out_steps", args.held_out_steps)):
            if value:
                raise ValueError(
                    f"{name}={value!r:.100} has no effect without held_out; give held_out, or leave it out."
                )
        return
    if not isinstance(held_out, Dataset):
        raise ValueError(
            f"held_out must be a Dataset, got a {type(held_out).__name__}; make one, as by Dataset.from_list(rows)."
        )
    if reward_func is None:
        raise ValueError("held_out needs a reward_func that tells right answers from wrong ones; give one.")
    if not len(held_out) or "prompt" not in held_out.column_names:
        raise ValueError(
            f"held_out must hold problems with a column prompt, got {len(held_out)} rows of "
            f"{', '.join(held_out.column_names)}; correct it, or leave it out."
        )
    if {"image", "images"} & set(held_out.column_names):
        raise ValueError("held_out has images, which would be left out of the sampling; leave held_out out.")
    check_reward_func(reward_func, held_out.column_names, "held_out", _PASSED)


def refuse_long_pairs(pairs: Dataset, max_length: int, name: str) -> None:
    """Refuse pairs that TRL would cut.

    Args:
        pairs: With the columns of `SAMPLED`.
        max_length: Limit of prompt and response, in tokens.
        name: Of the data set, for the message.

    Raises:
        ValueError: Naming how many, and the longest.
    """
    longest = [
        len(prompt) + max(len(chosen), len(rejected))
        for prompt, chosen, rejected in zip(
            pairs["prompt_ids"], pairs["chosen_ids"], pairs["rejected_ids"], strict=True
        )
    ]
    over = sum(length > max_length for length in longest)
    if over:
        raise ValueError(
            f"max_length={max_length} would cut {over} of {len(longest)} pairs of the {name} data set, the longest of "
            f"{max(longest)} tokens; leave it at None, or take these pairs out."
        )
