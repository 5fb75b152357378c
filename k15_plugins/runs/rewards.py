"""The reward functions of a config: how each is made, and which columns of a task it needs."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from hydra.utils import get_object

from k15_plugins.runs import keys
from k15_plugins.runs.build import build
from k15_plugins.runs.conf import CONF
from k15_plugins.tasks import code_places

PASSED = (
    "prompts",
    "completions",
    "completion_ids",
    "trainer_state",
    "log_extra",
    "log_metric",
    "environments",
)
"""What TRL itself passes to a reward function."""
_OF_FILES = ("prompt", "answer", "level", "task")
_OF_CODE = ("prompt", "level", "task", "problem")
_BENCHMARK = "k15_plugins.evaluation.benchmarks.load_benchmark"
COLUMNS = {
    "k15_plugins.tasks.reasoning_gym.reasoning_gym_problems": (*_OF_FILES, "entry"),
    "k15_plugins.tasks.files.load_problems": _OF_FILES,
    "k15_plugins.tasks.code_problems.load_code_problems": _OF_CODE,
    "k15_plugins.tasks.short_functions.short_functions": _OF_CODE,
}
"""The columns of this package's own tasks, known before they are loaded; see `columns_of`."""
_OWN = "k15_plugins."


def build_rewards(nodes: dict[str, Any]) -> list[Callable[..., Any]]:
    """Make the reward functions of a config.

    Args:
        nodes: The `reward` group: a class is instantiated with the keys of its node; a function is
            taken as it is, with the keys of its node, if there are any, as arguments of every call.

    Raises:
        ValueError: If a node makes something that cannot be called.
    """
    return [_build_reward(f"reward.{name}", node) for name, node in nodes.items()]


def _build_reward(path: str, node: dict[str, Any]) -> Callable[..., Any]:
    target = get_object(node["_target_"])
    if inspect.isclass(target):
        reward = build(node)
    elif len(node) == 1:
        reward = target
    else:
        arguments = build({**node, "_target_": "builtins.dict"})
        reward = functools.partial(target, **arguments)
        reward.__name__ = getattr(target, "__name__", type(target).__name__)  # type: ignore[attr-defined]
    if not callable(reward):
        raise ValueError(
            f"{path}._target_ must be a function, or a class whose objects can be called, got {node['_target_']}; "
            "give the class a method __call__(self, completions, **kwargs)."
        )
    return reward


def check_own_columns(config: dict[str, Any]) -> None:
    """Check task and rewards against each other where both are of this package, which loads neither.

    Args:
        config: The resolved config.

    Raises:
        ValueError: See `keys.check_nodes` and `check_columns`.
    """
    columns = columns_of(config.get("task") or {})
    if columns is not None:
        own = {name: node for name, node in (config.get("reward") or {}).items() if node["_target_"].startswith(_OWN)}
        keys.check_nodes({"reward": own})
        check_columns(own, columns, config["task"]["_target_"])


def columns_of(task: dict[str, Any]) -> Sequence[str] | None:
    """Return the columns that a task of this package will give, or None for one of somebody else's.

    Args:
        task: Its node.

    Raises:
        ValueError: If it is a benchmark that is not there.
    """
    name = task.get("_target_", "")
    if name != _BENCHMARK:
        return COLUMNS.get(name)
    if task.get("name") in code_places.BENCHMARKS:
        return _OF_CODE
    from k15_plugins.evaluation.benchmarks import find_benchmark  # which loads datasets, as the run will

    try:
        find_benchmark(str(task.get("name")), also=code_places.BENCHMARKS)
    except ValueError as error:
        raise ValueError(f"task.{error}") from error
    return _OF_FILES


def check_columns(nodes: dict[str, Any], columns: Sequence[str], task: str) -> None:
    """Refuse a reward that needs a column which the task does not give.

    Args:
        nodes: The `reward` group.
        columns: What the task gives.
        task: The task's `_target_`.

    Raises:
        ValueError: Naming the reward, the columns on both sides, and the cure.
    """
    for name, node in nodes.items():
        target = get_object(node["_target_"])
        needed = needed_columns(target, node)
        if missing := [column for column in needed if column not in columns]:
            kind = getattr(target, "__name__", type(target).__name__)
            raise ValueError(
                f"reward.{name} ({kind}) needs the column{'s'[: len(needed) > 1]} {', '.join(needed)}, and the task "
                f"({task.rpartition('.')[2]}) gives {', '.join(columns)}; {_cure(columns, missing)}."
            )


def needed_columns(target: Any, node: dict[str, Any]) -> list[str]:
    """Return the columns that a reward function needs: its parameters without a default that TRL does not pass itself.

    Args:
        target: A class whose objects are called, or a function.
        node: Its node; the keys of a function's node are arguments.
    """
    call = target.__call__ if inspect.isclass(target) else target
    given = {*PASSED, "self", *(() if inspect.isclass(target) else node)}
    return [
        each.name
        for each in inspect.signature(call).parameters.values()
        if each.default is each.empty
        and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        and each.name not in given
    ]


def _cure(columns: Sequence[str], missing: Sequence[str]) -> str:
    from omegaconf import OmegaConf

    fit = []
    for path in sorted((CONF / "reward").glob("*.yaml")):
        nodes: Any = OmegaConf.to_container(OmegaConf.load(path))
        if OmegaConf.missing_keys(nodes):  # it takes a model of the user's
            continue
        nodes = nodes.get("reward", nodes)  # of an option that sets more than its group
        if all(
            column in columns
            for node in nodes.values()
            for column in needed_columns(get_object(node["_target_"]), node)
        ):
            fit.append(f"reward={path.stem}")
    if fit:
        return f"take {' or '.join(fit)}"
    return f"give the task the column {', '.join(missing)}, or the parameter a default"
