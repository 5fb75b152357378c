"""What a trainer is given, checked before a model is loaded: data, reward functions, sampler, output folder."""

import inspect
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

# What TRL passes to a reward function beside the columns of the data set.
PASSED = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")


def check_before(given: dict[str, Any], sampler: Any) -> None:
    """Check the arguments of a trainer.

    Args:
        given: arguments of `GRPOTrainer`, by name.
        sampler: draws the problems, or None.

    Raises:
        ValueError: naming the argument, what is wrong with it, and the cure.
    """
    for name in ("train_dataset", "eval_dataset"):
        data = given.get(name)
        for each in data.values() if isinstance(data, dict) else [data]:
            if isinstance(each, Dataset):
                _check_data(each, name, given.get("processing_class"))
    if inspect.isclass(sampler):
        raise ValueError(
            f"sampler must be an object, got the class {sampler.__name__}; give one, such as "
            f"{sampler.__name__}(len(train_dataset), seed=0)."
        )
    functions = given.get("reward_funcs") or []
    # Tools, environments and rollout functions add columns that nobody knows yet.
    data = given.get("train_dataset")
    columns = data.column_names if isinstance(data, Dataset) else None
    if any(given.get(name) for name in ("tools", "rollout_func", "environment_factory")):
        columns = None
    for function in functions if isinstance(functions, list) else [functions]:
        check_reward_func(function, columns)
    args = given.get("args")
    if args is not None:
        check_output_dir(args.output_dir)
        if isinstance(data, Dataset):
            check_loading(args)


def check_reward_func(function: Any, columns: Sequence[str] | None) -> None:
    """Refuse a reward function that cannot be called as TRL calls it.

    Args:
        function: as in `GRPOTrainer`'s `reward_funcs`; names of models and models pass.
        columns: of the data set; None if they are not known.

    Raises:
        ValueError: if it is a class, or no function; if it takes no `**kwargs` and not all that TRL passes; or if it
            needs what no column gives.
    """
    if inspect.isclass(function):
        raise ValueError(
            f"reward_funcs must hold functions or objects, got the class {function.__name__}; give an object, such as "
            f"{function.__name__}()."
        )
    if isinstance(function, str) or hasattr(function, "parameters"):
        return
    if not callable(function):
        raise ValueError(f"reward_funcs must hold functions, objects that can be called, or models, got {function!r}.")
    name = getattr(function, "__name__", type(function).__name__)
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some functions written in C have none
        return
    if columns is None:
        return
    passed = {*PASSED, *columns} - {"prompt", "completion"}
    required = [
        each.name
        for each in parameters
        if each.default is each.empty and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    missing = [each for each in required if each not in passed]
    if missing:
        raise ValueError(
            f"the reward function {name} needs {_listed(missing)}, which no column of train_dataset gives (it has "
            f"{', '.join(columns)}); add the column, or give the parameter a default."
        )
    known = {each.name for each in parameters}
    if not any(each.kind is each.VAR_KEYWORD for each in parameters) and passed - known:
        raise ValueError(
            f"the reward function {name} must take **kwargs, for TRL also passes {_listed(sorted(passed - known))}; "
            "add **kwargs to its parameters."
        )


def check_names(names: Sequence[str], final_reward: str | None) -> None:
    """Refuse a final reward that several functions are called by.

    Args:
        names: of the reward functions.
        final_reward: name of the one that tells right from wrong, or None for the first.

    Raises:
        ValueError: if two have the name.
    """
    if final_reward is not None and Counter(names)[final_reward] > 1:
        raise ValueError(
            f"final_reward={final_reward!r} is the name of {Counter(names)[final_reward]} reward functions; give each "
            "another __name__."
        )


def check_loading(args: Any) -> None:
    """Refuse options of the loader that have no effect, because a sampler chooses the rows.

    Args:
        args: a `GRPOConfig`.

    Raises:
        ValueError: if one is set.
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


def check_output_dir(output_dir: str | None) -> None:
    """Refuse an output folder that cannot be written to.

    Args:
        output_dir: the folder, which need not be there yet.

    Raises:
        ValueError: if it is a file, or may not be written to.
    """
    if output_dir is None:
        return
    place = Path(output_dir).absolute()
    nearest = next(each for each in (place, *place.parents) if each.exists())
    if not nearest.is_dir():
        raise ValueError(f"output_dir={output_dir} must be a folder, but {nearest} is a file; take another name.")
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"output_dir={output_dir} must be writable, but {nearest} is not; take another folder.")


def _check_data(data: Dataset, name: str, processing_class: Any) -> None:
    if not len(data):
        raise ValueError(f"{name} must have at least one row, and it is empty; give problems.")
    if "prompt" not in data.column_names:
        raise ValueError(
            f"{name} must have a column prompt, got {', '.join(data.column_names)}; rename yours, as by "
            f"{name}.rename_column({data.column_names[0]!r}, 'prompt')."
        )
    prompt = data[0]["prompt"]
    is_conversation = isinstance(prompt, list) and bool(prompt) and all(isinstance(each, dict) for each in prompt)
    if not is_conversation and not isinstance(prompt, str):
        raise ValueError(
            f"{name} must have texts or lists of messages as prompts, got {prompt!r:.100} in row 0; correct the data."
        )
    # Arrow counts them without reading the rows; rows that were chosen from others have an index of their own.
    empty = data.data.column("prompt").null_count if data._indices is None else 0
    if empty:
        raise ValueError(
            f"{name} must have a prompt in every row, and {empty} of {len(data)} rows have none; leave them out, by "
            f"{name}.filter(lambda row: row['prompt'] is not None)."
        )
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    if is_conversation and tokenizer is not None and getattr(processing_class, "chat_template", None) is None:
        raise ValueError(
            f"{name} has lists of messages as prompts, and the tokenizer {getattr(tokenizer, 'name_or_path', '')!r} "
            "has no chat template; set processing_class.chat_template, or give prompts as text."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
