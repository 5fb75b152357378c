"""What a trainer is given, checked before a model is loaded: data, reward functions, sampler, model, output folder."""

import inspect
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, IterableDataset

from k15_plugins.trainers.values import check_values

# What TRL passes to a reward function beside the columns of the data set.
PASSED = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")


def check_before(given: dict[str, Any], sampler: Any = None, final_reward: str | None = None) -> None:
    """Check the arguments of a trainer.

    Args:
        given: Arguments of `GRPOTrainer`, by name; those that are not known yet are left out.
        sampler: Draws the problems, or None.
        final_reward: Name of the reward function that tells right from wrong, or None for the first.

    Raises:
        ValueError: Naming the argument, what is wrong with it, and the cure.
    """
    args, train = given.get("args"), given.get("train_dataset")
    has_environment = given.get("environment_factory") is not None
    if train is None and not has_environment:
        raise ValueError("train_dataset must be a Dataset, got None; give the problems to train on.")
    if train is not None:
        _check_kind(train)
        check_sampler(sampler, train, args)
    for name, data in _datasets(given):
        _check_data(data, name)
        check_chat_template(data, name, given.get("processing_class"))
    _check_reward_funcs(given, has_environment, final_reward)
    if args is not None:
        check_output_dir(args.output_dir)
        check_values(args, [each.name for each in fields(args)])
        if isinstance(train, Dataset):
            check_loading(args)
    if "model" in given:
        _check_model(given)


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
    if sampler is None:
        if args is not None and not args.shuffle_dataset:
            raise ValueError("shuffle_dataset=False has no effect on a sampler; give a sampler, or leave it out.")
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


def check_reward_func(function: Any, columns: Sequence[str] | None, data_name: str = "train_dataset") -> None:
    """Refuse a reward function that cannot be called as TRL calls it.

    Args:
        function: As in `GRPOTrainer`'s `reward_funcs`; names of models and models pass.
        columns: Of the data set; None if they are not known.
        data_name: Of the data set, for the message.

    Raises:
        ValueError: If it is a class, or no function; if it takes no `**kwargs` and not all that TRL passes; or if it
            needs what no column gives.
    """
    if inspect.isclass(function):
        raise ValueError(
            f"reward_funcs must hold functions or objects, got the class {function.__name__}; give an object, such as "
            f"{function.__name__}()."
        )
    if _is_model(function):
        return
    if not callable(function):
        raise ValueError(
            f"reward_funcs must hold functions, objects that can be called, or models, got {function!r:.100}; give "
            "one of these."
        )
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some functions written in C have none
        return
    name = reward_name(function)
    passed = {*PASSED, *(columns or ())} - {"prompt", "completion"}
    required = [
        each.name
        for each in parameters
        if each.default is each.empty and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    missing = [each for each in required if each not in passed]
    if missing and columns is not None:
        raise ValueError(
            f"the reward function {name} needs {', '.join(missing)}, which no column of {data_name} gives (it has "
            f"{', '.join(columns)}); add the column, or give the parameter a default."
        )
    known = {each.name for each in parameters}
    if not any(each.kind is each.VAR_KEYWORD for each in parameters) and passed - known:
        raise ValueError(
            f"the reward function {name} must take **kwargs, for TRL also passes {', '.join(sorted(passed - known))}; "
            "add **kwargs to its parameters."
        )


def check_final_reward(names: Sequence[str], final_reward: str | None) -> None:
    """Refuse a final reward that no function is called by, or several are.

    Args:
        names: Of the reward functions.
        final_reward: Name of the one that tells right from wrong, or None for the first.

    Raises:
        ValueError: If not exactly one has the name.
    """
    if final_reward is None:
        return
    number = Counter(names)[final_reward]
    if number == 0:
        raise ValueError(f"final_reward={final_reward!r} is no reward function; take one of {', '.join(names)}.")
    if number > 1:
        raise ValueError(
            f"final_reward={final_reward!r} is the name of {number} reward functions; give each another __name__."
        )


def check_added_reward(reward_funcs: Any, name: str, option: str, weight: float) -> None:
    """Refuse a reward function that is called as the reward that an option adds.

    Args:
        reward_funcs: As `GRPOTrainer` takes them.
        name: Of the added reward.
        option: Of `MirrorDescentConfig`, which adds it.
        weight: Value of the option.

    Raises:
        ValueError: If one has the name.
    """
    if weight > 0 and name in map(reward_name, _as_list(reward_funcs)):
        raise ValueError(
            f"{option}={weight} adds a reward called {name}, so no reward function may be called {name}, and one is; "
            f"give it another __name__, or set {option}=0."
        )


def reward_name(function: Any) -> str:
    """Return the name by which TRL calls a reward function.

    Args:
        function: As in `reward_funcs`.
    """
    while isinstance(function, partial):
        function = function.func
    if _is_model(function):
        identifier = function if isinstance(function, str) else getattr(function.config, "_name_or_path", "")
        return identifier.split("/")[-1]
    return getattr(function, "__name__", type(function).__name__)


def names_apart(names: Sequence[str]) -> list[str]:
    """Return names of which no two are equal: the second `style` is `style_2`.

    Args:
        names: Of reward functions, by which their columns are told apart.
    """
    apart: list[str] = []
    for name in names:
        number, new = 1, name
        while new in apart:
            number += 1
            new = f"{name}_{number}"
        apart.append(new)
    return apart


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


def check_output_dir(output_dir: str | None) -> None:
    """Refuse an output folder that cannot be written to.

    Args:
        output_dir: The folder, which need not be there yet.

    Raises:
        ValueError: If it is a file, or may not be written to.
    """
    if output_dir is None:
        return
    place = Path(output_dir).absolute()
    nearest = next(each for each in (place, *place.parents) if each.exists())
    if not nearest.is_dir():
        raise ValueError(f"output_dir={output_dir} must be a folder, but {nearest} is a file; take another name.")
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"output_dir={output_dir} must be writable, but {nearest} is not; take another folder.")


def check_model_name(model: Any) -> None:
    """Refuse a path that leads nowhere; it would be looked for on the Hub, again and again.

    Args:
        model: As a trainer takes it: a name, a path, or a model.

    Raises:
        ValueError: If it is a path and there is no such folder, or no text.
    """
    if isinstance(model, Path):
        raise ValueError(f"model must be a text or a model, got the path {model}; give str(model).")
    is_path = isinstance(model, str) and (model.startswith(("/", "./", "../", "~")) or model.count("/") > 1)
    if is_path and not Path(model).is_dir():
        raise ValueError(
            f"model={model} must be a name on the Hub or a folder, and there is no such folder; correct it."
        )


def check_processing_class(model: Any, processing_class: Any) -> None:
    """Refuse a missing tokenizer of a model without a name, by which it would be loaded.

    Args:
        model: As a trainer takes it: a name, a path, or a model.
        processing_class: Tokenizer or processor, or None.

    Raises:
        ValueError: If there is none.
    """
    if processing_class is None and not isinstance(model, str) and not model.name_or_path:
        raise ValueError(
            "processing_class is loaded by the name of the model, and this one, built in memory, has none; give the "
            "tokenizer as processing_class."
        )


def _datasets(given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
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
        if data.column_names is not None and "prompt" not in data.column_names:
            raise ValueError(_no_prompt(name, data.column_names))
        return
    if not isinstance(data, Dataset):
        return
    if not len(data):
        raise ValueError(f"{name} must have at least one row, and it is empty; give problems.")
    row = data[0]  # with the columns that a transform gives
    if "prompt" not in row:
        raise ValueError(_no_prompt(name, list(row)))
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


def _no_prompt(name: str, columns: Sequence[str]) -> str:
    return (
        f"{name} must have a column prompt, got {', '.join(columns)}; rename yours, as by "
        f"{name.partition('[')[0]}.rename_column({columns[0]!r}, 'prompt')."
    )


def _check_reward_funcs(given: dict[str, Any], has_environment: bool, final_reward: str | None) -> None:
    functions = _as_list(given.get("reward_funcs"))
    if not functions and not has_environment:
        raise ValueError("reward_funcs must hold a reward function, got none; give one that tells right answers.")
    # Tools, environments and rollout functions add columns that nobody knows yet.
    is_open = any(given.get(name) for name in ("tools", "rollout_func", "environment_factory"))
    for name, data in _datasets(given):
        is_known = isinstance(data, Dataset) and not is_open
        for function in functions:
            check_reward_func(function, list(data[0]) if is_known else None, name)
    for function, tokenizer in zip(functions, _tokenizers(given, len(functions)), strict=True):
        if hasattr(function, "parameters") and tokenizer is None and not reward_name(function):
            raise ValueError(
                f"reward_funcs holds a {type(function).__name__} without a name, whose tokenizer cannot be found; "
                "give it in reward_processing_classes."
            )
    if not has_environment:
        check_final_reward([reward_name(function) for function in functions], final_reward)
        weights = getattr(given.get("args"), "reward_weights", None)
        if weights is not None and len(weights) != len(functions):
            raise ValueError(
                f"reward_weights={weights} must have a number for each of the {len(functions)} reward functions, got "
                f"{len(weights)}; give one for each."
            )


def _tokenizers(given: dict[str, Any], number: int) -> list[Any]:
    tokenizers = given.get("reward_processing_classes")
    if tokenizers is None:
        return [None] * number
    tokenizers = _as_list(tokenizers)
    if len(tokenizers) != number:
        raise ValueError(
            f"reward_processing_classes must have one for each of the {number} reward functions, got "
            f"{len(tokenizers)}; give one for each, None for those that are no models."
        )
    return tokenizers


def _check_model(given: dict[str, Any]) -> None:
    model: Any = given.get("model")
    args: Any = given.get("args")
    check_model_name(model)
    if isinstance(model, str) or model.name_or_path:
        return
    from accelerate.utils import is_peft_model

    is_adapted = given.get("peft_config") is not None or is_peft_model(model)
    if args is not None and args.beta != 0.0 and not is_adapted:
        raise ValueError(
            f"beta={args.beta} loads the starting policy by the name of the model, and this one, built in memory, has "
            "none; save it with save_pretrained and give the folder, or set beta=0."
        )
    check_processing_class(model, given.get("processing_class"))


def _as_list(functions: Any) -> list[Any]:
    if functions is None:
        return []
    return functions if isinstance(functions, list) else [functions]


def _is_model(function: Any) -> bool:
    return isinstance(function, str) or hasattr(function, "parameters")


def check_mirror_descent(trainer: Any) -> None:
    """Refuse options of a trainer that would have no effect, or that its data or engine cannot give.

    Args:
        trainer: A `MirrorDescentTrainer` that is built.

    Raises:
        ValueError: Naming the option and the cure.
    """
    args = trainer.args
    knows_the_sampler = args.use_vllm or trainer.rollout_func is not None or trainer.rollouts is not None
    if args.importance_weight_cap is not None and not knows_the_sampler:
        raise ValueError(
            f"importance_weight_cap={args.importance_weight_cap} needs the engine's log-probabilities; "
            "transformers generation gives them only with the rollout and repetition options; set use_vllm=True, "
            "give a rollout_func, or leave it out."
        )
    if args.rollout_gap_bound != type(args).rollout_gap_bound and not knows_the_sampler:
        raise ValueError(
            f"rollout_gap_bound={args.rollout_gap_bound} has no effect, for transformers generation gives "
            "the engine's log-probabilities only with the rollout and repetition options; set use_vllm=True, "
            "give a rollout_func, or leave it out."
        )
    if args.reset_optimizer and trainer.is_deepspeed_enabled:
        raise ValueError(
            "reset_optimizer=True cannot clear an optimizer that DeepSpeed owns; set reset_optimizer=False."
        )
    if args.max_refills > 0 and (trainer.sampler is None or trainer._is_vlm):
        raise ValueError(
            f"max_refills={args.max_refills} needs text prompts in a data set with a length; set max_refills=0."
        )
    rows = args.per_device_train_batch_size * args.steps_per_generation
    if args.max_refills > 0 and rows % trainer.num_generations:
        raise ValueError(
            f"max_refills={args.max_refills} needs whole groups on each process, but a process has {rows} "
            f"rollouts and num_generations={trainer.num_generations}; make the one divisible by the other."
        )
