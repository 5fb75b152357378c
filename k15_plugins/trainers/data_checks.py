"""The data and the sampler that a trainer is given, checked before a model is loaded."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, IterableDataset

# What TRL passes to a reward function beside the columns, one of which would take its place.
_TRLS_OWN = ("prompts", "completions", "trainer_state", "log_extra", "log_metric", "environments")


def check_datasets(given: dict[str, Any], sampler: Any) -> None:
    """Refuse data that cannot be trained on or measured with, and a sampler that does not fit it.

    Args:
        given: Arguments of `GRPOTrainer`, by name.
        sampler: Draws the problems, or None.

    Raises:
        ValueError: Naming the data set, what is wrong with it, and the cure.
    """
    args, train = given.get("args"), given.get("train_dataset")
    if train is None and given.get("environment_factory") is None:
        raise ValueError("train_dataset must be a Dataset, got None; give the problems to train on.")
    if train is not None:
        _check_kind(train)
        check_sampler(sampler, train, args)
    for name, data in datasets_of(given):
        _check_data(data, name)
        check_chat_template(data, name, given.get("processing_class"))
    if isinstance(train, Dataset) and args is not None:
        check_loading(args)


def check_sampler(sampler: Any, data: Dataset | IterableDataset, args: Any) -> None:
    """Refuse a sampler that does not draw from a data set.

    Args:
        sampler: Draws the problems, or None.
        data: The problems.
        args: A `GRPOConfig`, or None for its defaults.

    Raises:
        ValueError: If the sampler is none, or is one for other problems.
    """
    if inspect.isclass(sampler):
        raise ValueError(
            f"sampler must be an object, got the class {sampler.__name__}; give one, such as "
            f"{sampler.__name__}(len(train_dataset), seed=0)."
        )
    if isinstance(data, IterableDataset):
        if sampler is not None:
            raise ValueError("sampler needs a train_dataset with a length; an IterableDataset has none.")
        return
    if args is not None and not args.shuffle_dataset:
        raise ValueError(
            "shuffle_dataset=False has no effect on a sampler, which chooses the rows; leave it out, and give a "
            "sampler that keeps your order."
        )
    if sampler is None:
        return
    if not hasattr(sampler, "draw") or not hasattr(sampler, "num_problems"):
        raise ValueError(
            f"sampler must be one of k15_plugins.sampling, got {sampler!r:.100}; give one, such as "
            "UniformSampler(len(train_dataset))."
        )
    if sampler.num_problems != len(data):
        raise ValueError(
            f"sampler draws from {sampler.num_problems} problems but train_dataset has {len(data)}; make them equal."
        )


def check_chat_template(data: Any, name: str, processing_class: Any) -> None:
    """Refuse conversations for which there is no chat template.

    Args:
        data: A data set.
        name: Of it, for the message.
        processing_class: Tokenizer or processor, or None if it is not known yet.

    Raises:
        ValueError: If the first prompt is a list of messages and there is no template.
    """
    if processing_class is None or processing_class.chat_template is not None or not isinstance(data, Dataset):
        return
    if isinstance(data[0]["prompt"], list):
        tokenizer = getattr(processing_class, "tokenizer", processing_class)
        raise ValueError(
            f"{name} has lists of messages as prompts, and the tokenizer {getattr(tokenizer, 'name_or_path', '')!r} "
            "has no chat template; set processing_class.chat_template, or give prompts as text."
        )


def check_loading(args: Any) -> None:
    """Refuse options of the loader that have no effect, because a sampler chooses the rows.

    Args:
        args: A `GRPOConfig`.

    Raises:
        ValueError: If one is set.
    """
    if args.data_seed is not None:
        raise ValueError(
            f"data_seed={args.data_seed} has no effect on a sampler; set seed, or give a sampler with its own seed."
        )
    if args.remove_unused_columns:
        raise ValueError(
            "remove_unused_columns=True has no effect, for a sampler gives rows whole; take the columns out of "
            "train_dataset, or leave it out."
        )
    if args.train_sampling_strategy != "random":
        raise ValueError(
            f"train_sampling_strategy={args.train_sampling_strategy!r} has no effect, for a sampler chooses the rows; "
            "give a sampler, or leave it out."
        )


def datasets_of(given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("train_dataset", "eval_dataset"):
        data = given.get(name)
        if isinstance(data, dict):
            yield from ((f"{name}[{key!r}]", each) for key, each in data.items())
        elif data is not None:
            yield name, data


def _check_kind(data: Any) -> None:
    if isinstance(data, dict) and data:
        raise ValueError(
            f"train_dataset must be a Dataset, got a {type(data).__name__} of {', '.join(map(str, data))}; take one "
            f"of them, such as train_dataset[{next(iter(data))!r}]."
        )
    if not isinstance(data, Dataset | IterableDataset):
        raise ValueError(
            f"train_dataset must be a Dataset, got a {type(data).__name__}; make one, as by Dataset.from_list(rows)."
        )


def _check_data(data: Any, name: str) -> None:
    if isinstance(data, IterableDataset):
        if data.column_names is not None:
            _check_columns(name, data.column_names)
        return
    if not len(data):
        raise ValueError(f"{name} must have at least one row, and it is empty; give problems.")
    row = data[0]  # with the columns that a transform gives
    _check_columns(name, list(row))
    prompt = row["prompt"]
    is_conversation = isinstance(prompt, list) and all(isinstance(each, dict) for each in prompt)
    if not is_conversation and not isinstance(prompt, str) and prompt is not None:
        raise ValueError(
            f"{name} must have texts or lists of messages as prompts, got {prompt!r:.100} in row 0; correct the data."
        )
    empty = _number_without_prompt(data)
    if empty:
        raise ValueError(
            f"{name} must have a prompt in every row, and {empty} of {len(data)} rows have none; leave them out, by "
            f"{name}.filter(lambda row: row['prompt'])."
        )


def _number_without_prompt(data: Dataset) -> int:
    """Count prompts that are missing or empty, without reading the rows one by one."""
    if "prompt" not in data.column_names:  # a transform makes them
        return int(not data[0]["prompt"])
    column = data.data.column("prompt")
    empty = pc.is_null(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        empty = pc.fill_null(pc.equal(pc.binary_length(column), 0), True)
    elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        empty = pc.fill_null(pc.equal(pc.list_value_length(column), 0), True)
    number = pc.sum(empty).as_py()
    if number and data._indices is not None:  # rows that were chosen from others
        number = pc.sum(empty.take(data._indices.column(0))).as_py()
    return number


def _check_columns(name: str, columns: Sequence[str]) -> None:
    whole = name.partition("[")[0]
    if "prompt" not in columns:
        raise ValueError(
            f"{name} must have a column prompt, got {', '.join(columns)}; rename yours, as by "
            f"{whole}.rename_column({columns[0]!r}, 'prompt')."
        )
    if clash := [each for each in columns if each in _TRLS_OWN]:
        raise ValueError(
            f"{name} must have no column {clash[0]}, for TRL passes its own {clash[0]} to the reward functions; "
            f"rename it, as by {whole}.rename_column({clash[0]!r}, 'my_{clash[0]}')."
        )
