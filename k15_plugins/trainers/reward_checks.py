"""The reward functions that a trainer is given, checked before a model is loaded."""

import inspect
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset

from k15_plugins.trainers.data_checks import datasets_of

# What TRL passes to a reward function beside the columns of the data set.
PASSED = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")


def check_reward_funcs(given: dict[str, Any], final_reward: str | None) -> None:
    """Refuse reward functions that cannot be called as TRL calls them, or do not go with the other arguments.

    Args:
        given: Arguments of `GRPOTrainer`, by name.
        final_reward: Name of the one that tells right from wrong, or None for the first.

    Raises:
        ValueError: Naming the function or the argument, and the cure.
    """
    has_environment = given.get("environment_factory") is not None
    some = given.get("reward_funcs")
    if isinstance(some, Collection) and not isinstance(some, str | list) and not callable(some):
        values = ".values()" if isinstance(some, Mapping) else ""
        raise ValueError(
            f"reward_funcs must be a list of reward functions, got a {type(some).__name__}; give "
            f"list(reward_funcs{values})."
        )
    functions = _as_list(some)
    if not functions and not has_environment:
        raise ValueError("reward_funcs must hold a reward function, got none; give one that tells right answers.")
    # Tools, environments and rollout functions add columns that nobody knows yet.
    is_open = any(given.get(name) for name in ("tools", "rollout_func", "environment_factory"))
    for name, data in datasets_of(given):
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
        names = [reward_name(function) for function in functions]
        check_final_reward(names, final_reward)
        weights = getattr(given.get("args"), "reward_weights", None)
        if weights is not None and len(weights) != len(functions):
            raise ValueError(
                f"reward_weights={weights} must have a number for each of the {len(functions)} reward functions, got "
                f"{len(weights)}; give one for each."
            )
        check_process_reward(names, final_reward, given.get("args"))


def check_reward_func(
    function: Any, columns: Sequence[str] | None, data_name: str = "train_dataset", given: Sequence[str] = PASSED
) -> None:
    """Refuse a reward function that cannot be called as TRL calls it.

    Args:
        function: As in `GRPOTrainer`'s `reward_funcs`; names of models and models pass.
        columns: Of the data set; None if they are not known.
        data_name: Of the data set, for the message.
        given: What it is passed beside the columns.

    Raises:
        ValueError: If it is a class, or no function; if it takes no `**kwargs` and not all that TRL passes; or if it
            needs what no column gives.
    """
    if inspect.isclass(function):
        raise ValueError(
            f"reward_funcs must hold functions or objects, got the class {function.__name__}; give an object, such as "
            f"{function.__name__}()."
        )
    if isinstance(function, str) and "/" not in function and not Path(function).is_dir():
        raise ValueError(
            f"reward_funcs must hold functions, or reward models by folder or OWNER/NAME, got {function!r:.100}; give "
            "the function itself, not its name."
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
    passed = {*given, *(columns or ())} - {"prompt", "completion"}
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
        raise ValueError(f"final_reward must be one of {', '.join(names)}, got {final_reward!r}; set one of them.")
    if number > 1:
        raise ValueError(
            f"final_reward={final_reward!r} is the name of {number} reward functions; give each another __name__."
        )


def check_process_reward(names: Sequence[str], final_reward: str | None, args: Any) -> None:
    """Refuse a process reward that no function is called by, or that is the final reward, or has a weight of its own.

    Args:
        names: Of the reward functions.
        final_reward: Name of the one that tells right from wrong, or None for the first.
        args: A `MirrorDescentConfig`, or another trainer's config, which has no process reward.

    Raises:
        ValueError: Naming the function and the cure.
    """
    process = getattr(args, "process_reward", None)
    if process is None:
        return
    number = Counter(names)[process]
    if number != 1:
        raise ValueError(
            f"process_reward must name one reward function, got {process!r}, which names {number} of them; the "
            f"names are {', '.join(names)}."
        )
    if process == (names[0] if final_reward is None else final_reward):
        raise ValueError(
            f"process_reward must stand beside a final reward, got {process!r}, which is the final reward itself; "
            "give a reward function that tells right answers, and name it by final_reward."
        )
    weight = (args.reward_weights or [0.0] * len(names))[names.index(process)]
    if weight != 0:
        raise ValueError(
            f"reward_weights must have 0 for process_reward={process!r}, which counts inside dual_reward, got "
            f"{weight:g}; set it to 0."
        )


def check_added_reward(reward_funcs: Any, name: str, option: str, value: float | str | None) -> None:
    """Refuse a reward function that is called as the reward that an option adds.

    Args:
        reward_funcs: As `GRPOTrainer` takes them.
        name: Of the added reward.
        option: Of `MirrorDescentConfig`, which adds it.
        value: Value of the option; without one, or with 0, it adds nothing.

    Raises:
        ValueError: If one has the name.
    """
    if value and name in map(reward_name, _as_list(reward_funcs)):
        raise ValueError(
            f"{option}={value} adds a reward called {name}, so no reward function may be called {name}, and one is; "
            f"give it another __name__, or leave {option} out."
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


def _as_list(functions: Any) -> list[Any]:
    if functions is None:
        return []
    return functions if isinstance(functions, list) else [functions]


def _is_model(function: Any) -> bool:
    return isinstance(function, str) or hasattr(function, "parameters")
