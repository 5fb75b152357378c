"""Keys of a config and the types of their values, checked against the arguments of what each node builds."""

import dataclasses
import inspect
import logging
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, get_type_hints

from hydra.utils import get_object

from k15_plugins.extras import cure
from k15_plugins.runs import hints

TOP_LEVEL = (
    *("seed", "stage", "resume", "metric", "model", "task", "sampler", "reward", "rewards", "trainer", "backend"),
)
OF_HYDRA = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
# What only the code that builds a node can give it.
_GIVEN = {
    "stage": ("config", "run_dir"),
    "stage.train": ("model", "tokenizer", "problems", "held_out", "output_dir", "reward_func"),
    "stage.pairs": ("problems",),
    "stage.responses": ("problems",),
    "sampler": ("num_problems", "levels"),
    "trainer": ("model", "reward_funcs", "args"),
    # Of one that measures several models.
    "model": ("name",),
}


def check_top_level(config: dict[str, Any]) -> None:
    """Refuse a key that no part of a run reads.

    Args:
        config: The resolved config.

    Raises:
        ValueError: Naming the key and the nearest known one.
    """
    for key in config:
        if key not in TOP_LEVEL:
            known = {name: child for name, child in config.items() if name in TOP_LEVEL}
            raise ValueError(unknown_key(key, [*TOP_LEVEL, *dotted(known)]))


def check_nodes(config: dict[str, Any]) -> None:
    """Check every node that has a `_target_` against the arguments of its target.

    Args:
        config: The resolved config.

    Raises:
        ValueError: If a target cannot be imported, if a key is none of its arguments, naming the nearest one, if an
            argument is missing, or if a value is of another type than it.
    """
    for path, node in _nodes(config, ""):
        _check_node(path, node)


def drop_values_of_another_task(config: dict[str, Any], words: Sequence[str]) -> None:
    """Take out what a recipe sets for its own task, if the command has chosen another task that does not know it.

    Args:
        config: The resolved config, which is changed.
        words: Of the command; what they set stays, to be refused.
    """
    task = config.get("task")
    if not isinstance(task, dict) or not any(word.startswith("task=") for word in words):
        return
    try:
        known, open_ended = parameters(get_object(task["_target_"]))
    except Exception:  # told where the node is checked
        return
    set_here = [word.lstrip("+").partition("=")[0] for word in words]
    for key in list(task):
        if not open_ended and key not in known and key not in OF_HYDRA and f"task.{key}" not in set_here:
            del task[key]


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return the sentence that refuses a key.

    Args:
        key: The unknown key, dotted.
        known: Known keys, dotted; the nearest is named, by its whole or by its last part.
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
        # Keys that begin with an underscore are Hydra's own.
        for key in node:
            if str(key).startswith("_") and key not in OF_HYDRA:
                raise ValueError(unknown_key(f"{path}.{key}", [f"{path}.{name}" for name in OF_HYDRA]))
        if "_target_" in node:
            yield path, node
        for key, child in node.items():
            yield from _nodes(child, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _nodes(child, f"{path}.{index}")


def dotted(config: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield every key of nested dicts, dotted.

    Args:
        config: Nested dicts.
        path: What stands before every key.
    """
    for key, child in config.items():
        yield path + key
        if isinstance(child, dict):
            yield from dotted(child, f"{path}{key}.")


def _check_node(path: str, node: dict[str, Any]) -> None:
    name = node["_target_"]
    if not isinstance(name, str) or not name:
        raise ValueError(f"{path}._target_ must be the dotted name of a class or function, got {name!r}; correct it.")
    # Hydra also logs what it raises, over several lines.
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)
    try:
        target = get_object(name)
    except Exception as error:
        raise ValueError(f"{path}._target_={name} cannot be imported: {_cause(error)}.") from error
    if not callable(target):
        raise ValueError(f"{path}._target_={name} must be a class or function, and is {target!r:.100}; correct it.")
    known, open_ended = parameters(target)
    if not open_ended:
        for key in node:
            if key not in OF_HYDRA and key not in known:
                raise ValueError(unknown_key(f"{path}.{key}", [f"{path}.{name}" for name in known]))
    given = _GIVEN.get(path, ())
    if path == "stage" and not {"config", "run_dir"} <= known.keys():
        raise ValueError(
            f"stage._target_={name} must be a function of config and run_dir; leave it as the recipe has it."
        )
    # The parameters of a reward function are its columns; those of a class make its object.
    if "_args_" not in node and (inspect.isclass(target) or not path.startswith("reward.")):
        for key, parameter in known.items():
            if parameter.required and key not in node and key not in given:
                raise ValueError(f"{path}.{key} is missing, and {name.rpartition('.')[2]} needs it; give it a value.")
    for key, value in node.items():
        if key not in known or (value is None and key in given):
            continue
        hint = known[key].hint
        if hint is not inspect.Parameter.empty and not (hints.fits(value, hint) and _is_of_class(value, hint)):
            shown = value.get("_target_", value) if isinstance(value, dict) else value
            raise ValueError(f"{path}.{key} must be {hints.in_words(hint)}, got {shown!r:.100}{_default(known[key])}.")


class Parameter(NamedTuple):
    """A parameter of a class or function.

    Attributes:
        hint: Its annotation; without one the type of its default; `inspect.Parameter.empty` if that is None.
        default: Its default, or `inspect.Parameter.empty`.
    """

    hint: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is inspect.Parameter.empty


def parameters(target: Any) -> tuple[dict[str, Parameter], bool]:
    """Return the parameters of a class or function by name, and whether it takes any other name as well.

    Args:
        target: The class or function. A class whose `__init__` passes `**kwargs` on also has the parameters of
            its bases.
    """
    empty = inspect.Parameter.empty
    known: dict[str, Parameter] = {}
    for each in _callables(target):
        try:
            signature = inspect.signature(each).parameters.values()
        except (TypeError, ValueError):  # some written in C have none
            return known, True
        annotations = _annotations(target if dataclasses.is_dataclass(target) else each)
        for one in signature:
            if one.name == "self" or one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
                continue
            hint = annotations.get(one.name, empty)
            if hint is empty and isinstance(one.default, bool | int | float):
                hint = type(one.default)
            default = one.default
            if dataclasses.is_dataclass(target) and default is not empty and "factory" in repr(default):
                default = None
            known.setdefault(one.name, Parameter(hint, default))
        if all(one.kind is not one.VAR_KEYWORD for one in signature):
            return known, False
    return known, True


def _callables(target: Any) -> list[Any]:
    if inspect.isclass(target):
        return [vars(base)["__init__"] for base in target.__mro__ if "__init__" in vars(base)]
    return [target]


def _annotations(target: Any) -> dict[str, Any]:
    try:
        return get_type_hints(target)
    except Exception:  # a name that is imported for type checkers only
        return {}


def _is_of_class(value: Any, hint: Any) -> bool:
    """Tell whether a node makes an object of the class that a type names; protocols and functions may be anything."""
    if not isinstance(value, dict) or "_target_" not in value:
        return True
    classes = [kind for kind in (*hints.kinds(hint),) if inspect.isclass(kind) and kind is not type(None)]
    if any(getattr(kind, "_is_protocol", False) or kind in (Any, object, dict) for kind in classes) or not classes:
        return True
    try:
        target = get_object(value["_target_"])
    except Exception:  # told where that node is checked
        return True
    return not inspect.isclass(target) or issubclass(target, tuple(classes))


def _default(parameter: Parameter) -> str:
    if parameter.required or parameter.default is None:
        return "; correct it" if parameter.required else "; correct it, or leave it out"
    shown = getattr(parameter.default, "value", parameter.default)
    return f"; the default is {shown}"


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()).rstrip(".")
    return text + cure(error.name) if isinstance(error, ModuleNotFoundError) and "pip install" not in text else text
