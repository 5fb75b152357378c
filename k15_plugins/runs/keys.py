"""Unknown keys of a config, refused with the nearest known name before anything heavy is built."""

import inspect
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from hydra.utils import get_object

from k15_plugins.extras import cure

TOP_LEVEL = ("seed", "stage", "resume", "metric", "model", "task", "sampler", "reward", "trainer", "backend")


def check_top_level(config: dict[str, Any]) -> None:
    """Refuse a key that no part of a run reads.

    Args:
        config (`dict[str, Any]`): The resolved config.

    Raises:
        ValueError: Naming the key and the nearest known one.
    """
    for key in config:
        if key not in TOP_LEVEL:
            known = {name: child for name, child in config.items() if name in TOP_LEVEL}
            raise ValueError(unknown_key(key, dotted(known)))


def check_nodes(config: dict[str, Any]) -> None:
    """Check every node that has a `_target_` against the arguments of its target.

    Args:
        config (`dict[str, Any]`): The resolved config.

    Raises:
        ValueError: If a target cannot be imported, if a key is none of its arguments, naming the nearest one, or if a
            number is not a number.
    """
    for name, node in (config.get("reward") or {}).items():
        if not isinstance(node, dict) or "_target_" not in node:
            raise ValueError(f"reward.{name} has no _target_; give the class or function of the reward, or remove it.")
    for path, node in _nodes(config, ""):
        _check_node(path, node)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return the sentence that refuses a key.

    Args:
        key (`str`): The unknown key, dotted.
        known (`Iterable[str]`): Known keys, dotted; the nearest is named, by its whole or by its last part.
    """
    known = list(dict.fromkeys(known))
    near = get_close_matches(key, known, n=1, cutoff=0.75)
    if not near:
        leaves = {name.rpartition(".")[2]: name for name in reversed(known)}
        near = [leaves[leaf] for leaf in get_close_matches(key.rpartition(".")[2], leaves, n=1, cutoff=0.5)]
    if not near:
        near = get_close_matches(key, known, n=1, cutoff=0)
    return f"unknown key {key}: did you mean {near[0]}?" if near else f"unknown key {key}."


def _nodes(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, child in node.items():
            yield from _nodes(child, f"{path}.{key}" if path else key)
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _nodes(child, f"{path}.{index}")


def dotted(config: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield every key of nested dicts, dotted.

    Args:
        config (`dict[str, Any]`): Nested dicts.
        path (`str`): What stands before every key.
    """
    for key, child in config.items():
        yield path + key
        if isinstance(child, dict):
            yield from dotted(child, f"{path}{key}.")


def _check_node(path: str, node: dict[str, Any]) -> None:
    try:
        target = get_object(node["_target_"])
    except Exception as error:
        raise ValueError(f"{path}._target_={node['_target_']} cannot be imported: {_cause(error)}.") from error
    known = arguments(target)
    if known is None:
        return
    for key in node:
        # Keys that begin with an underscore are Hydra's own: _target_, _partial_, _args_ ...
        if not key.startswith("_") and key not in known:
            raise ValueError(unknown_key(f"{path}.{key}", [f"{path}.{name}" for name in known]))
    for name, parameter in inspect.signature(target).parameters.items():
        value = node.get(name)
        if isinstance(value, str) and type(parameter.default) in (int, float, bool):
            kind = "true or false" if isinstance(parameter.default, bool) else "a number"
            raise ValueError(f"{path}.{name}={value!r} is not {kind}; the default is {parameter.default}.")


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()).rstrip(".")
    return text + cure(error.name) if isinstance(error, ModuleNotFoundError) and "pip install" not in text else text


def arguments(target: Any) -> list[str] | None:
    """Return the names of the arguments of a class or function, or None if it takes any name.

    Args:
        target (`Any`): The class or function. A class whose `__init__` passes `**kwargs` on also has the arguments of
            its bases.
    """
    callables = (
        [vars(base)["__init__"] for base in target.__mro__ if "__init__" in vars(base)]
        if inspect.isclass(target)
        else [target]
    )
    names: list[str] = []
    for each in callables:
        parameters = inspect.signature(each).parameters.values()
        names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return [name for name in names if name != "self"]
    return None
