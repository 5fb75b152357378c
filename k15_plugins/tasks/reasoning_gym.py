"""Problems from reasoning-gym: any of its tasks, in mixtures, with a difficulty level on every problem."""

import math
import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from k15_plugins.extras import optional_import
from k15_plugins.tasks.entries import dump_entry
from k15_plugins.tasks.levels import curriculum_settings, differences, level_count
from k15_plugins.tasks.problems import (
    Problems,
    check_keys,
    check_prompt_options,
    did_you_mean,
    is_held_out,
    make_prompt,
    to_dataset,
)

with optional_import():
    from reasoning_gym.factory import DATASETS, create_dataset

# A fixed share, because a share that followed the wanted sizes would move problems between the sides from run to run.
HELD_OUT_SHARE = 0.2
_CHUNK = 500


@dataclass(frozen=True)
class Task:
    """One reasoning-gym task of a mixture.

    Args:
        name: Its name in reasoning-gym.
        weight: Its share of the problems, relative to the other tasks of the mixture.
        levels: Either levels of the task's own curriculum (every attribute is
            set to just that level, or to its highest one if it has fewer), or one dictionary of settings a level,
            easiest first. The problems of a task are spread evenly over its levels.
        config: Settings of the task that hold at every level; they win over the curriculum.
    """

    name: str
    weight: float = 1.0
    levels: Sequence[int | Mapping[str, Any]] = (0,)
    config: Mapping[str, Any] = field(default_factory=dict)


def reasoning_gym_problems(
    mixture: Sequence[Task | Mapping[str, Any]],
    *,
    train_size: int,
    held_out_size: int,
    template: str = "{question}",
    system: str | None = None,
    conversational: bool = False,
    seed: int = 0,
) -> Problems:
    """Generate distinct problems; a question is held out or not by its text alone, whatever the sizes and the seed.

    Args:
        mixture: The tasks; a dictionary has the fields of `Task`.
        train_size: Number of problems to train on.
        held_out_size: Number of held-out problems; may be 0.
        template: Text of the prompt, from `{question}` and the entry's metadata, e.g. `{metadata[expression]}
            =`.
        system: System message; only for conversational prompts.
        conversational: Whether prompts are lists of messages.
        seed: Which problems are drawn, and their order.

    Returns:
        Both sets, each in random order.

    Raises:
        ValueError: If a name, level, setting or template field is unknown, or a task has too few distinct problems.
    """
    check_prompt_options(template, ["question", "metadata"], system, conversational)
    if not _is_list(mixture):
        raise ValueError(
            f"mixture must be a list of tasks, got {mixture!r:.100}; give [{{'name': 'chain_sum'}}], say."
        )
    tasks = [_as_task(item) for item in mixture]
    if not tasks:
        raise ValueError("mixture must hold at least one task, got none; set [{name: chain_sum}], say.")
    for name, size in (("train_size", train_size), ("held_out_size", held_out_size), ("seed", seed)):
        if not isinstance(size, Integral) or isinstance(size, bool):
            raise ValueError(f"{name} must be a whole number, got {size!r:.100}; correct it.")
    if train_size < 1 or held_out_size < 0:
        raise ValueError(f"train_size={train_size} must be at least 1 and held_out_size={held_out_size} at least 0.")

    cells = [(task, level, settings) for task in tasks for level, settings in _levels(task)]
    shares = [task.weight / len(task.levels) for task, _, _ in cells]
    train_counts, held_out_counts = _split(train_size, shares), _split(held_out_size, shares)
    seen: set[str] = set()
    train: list[dict[str, Any]] = []
    held_out: list[dict[str, Any]] = []
    for i, (task, level, settings) in enumerate(cells):
        missing = {False: train_counts[i], True: held_out_counts[i]}
        draws = _distinct(task, level, settings, template, missing, seen, seed=zlib.crc32(f"{seed} {i}".encode()))
        for entry, text in draws:
            side = is_held_out(entry["question"], HELD_OUT_SHARE)
            missing[side] -= 1
            (held_out if side else train).append(
                {
                    "prompt": make_prompt(text, system, conversational),
                    "answer": entry["answer"] or "",  # five tasks have many right answers and name none
                    "level": level,
                    "task": task.name,
                    "entry": dump_entry(entry | {"config": differences(task.name, settings)}),
                }
            )
    random.Random(seed).shuffle(train)
    random.Random(seed).shuffle(held_out)
    return Problems(to_dataset(train, conversational, True), to_dataset(held_out, conversational, True))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_level(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, Integral) and not isinstance(value, bool))


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: isinstance(value, str), "text"),
    "weight": (lambda value: isinstance(value, Real) and math.isfinite(value), "a finite number"),
    "levels": (
        lambda value: _is_list(value) and all(map(_is_level, value)),
        "a list of whole numbers or of settings, such as [0, 1]",
    ),
    "config": (lambda value: isinstance(value, Mapping), "keys and values"),
}
"""What each field of a task may be, and that in words."""


def _as_task(item: Task | Mapping[str, Any]) -> Task:
    if not isinstance(item, Task | Mapping):
        raise ValueError(f"mixture must hold tasks, got {item!r:.100}; write each as {{'name': 'chain_sum'}}, say.")
    if not isinstance(item, Task):
        check_keys(item, [f.name for f in fields(Task)], "mixture: a task")
        if "name" not in item:
            raise ValueError(f"mixture: the task {dict(item)} has no name; add name=..., e.g. chain_sum.")
        item = Task(**item)
    for key, (fits, words) in _KINDS.items():
        if not fits(value := getattr(item, key)):
            raise ValueError(
                f"mixture: {key} of {item.name!r:.100} must be {words}, got {value!r:.100}; correct it, or "
                "leave it out."
            )
    known = DATASETS.keys() - {"composite"}
    if item.name not in known:
        raise ValueError(
            f"mixture: reasoning-gym has no task {item.name!r}{did_you_mean(item.name, known)}; "
            "a mixture of several tasks is written as several items."
        )
    if not item.weight > 0:
        raise ValueError(
            f"mixture: weight of {item.name!r} must be above 0, got {item.weight}; leave the task out instead."
        )
    if not item.levels:
        raise ValueError(f"mixture: levels of {item.name!r} must hold at least one level, got none; set [0], say.")
    keys = [f.name for f in fields(DATASETS[item.name][1]) if f.name not in ("seed", "size")]
    check_keys(item.config, keys, f"mixture: config of {item.name!r}")
    for level in item.levels:
        if isinstance(level, Mapping):
            check_keys(level, keys, f"mixture: a level of {item.name!r}")
    return item


def _levels(task: Task) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the settings of each level; a level of the curriculum keeps its number there."""
    count = level_count(task.name)
    for position, level in enumerate(task.levels):
        if isinstance(level, Mapping):
            yield position, {**task.config, **level}
        elif 0 <= level < count:
            yield level, {**curriculum_settings(task.name, level), **task.config}
        else:
            raise ValueError(
                f"mixture: levels of {task.name!r} has {level}, but its curriculum has the levels 0 to {count - 1}; "
                "choose among them or give levels as dictionaries of settings."
            )


def _distinct(
    task: Task,
    level: int,
    settings: dict[str, Any],
    template: str,
    missing: dict[bool, int],
    seen: set[str],
    seed: int,
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield new entries with their prompts, while the caller counts down how many each side is `missing`."""
    found = {False: 0, True: 0}
    wanted = dict(missing)
    fruitless = 0
    failure = ""
    for chunk in range(10**6):
        if not any(missing.values()):
            return
        dataset = _create(task, level, settings, (seed + chunk * _CHUNK) % 2**32)
        for index in range(_CHUNK):
            if not any(missing.values()):
                return
            # After so many draws without a new problem, most likely there is none left to find.
            if fruitless > 1000 + 2 * sum(found.values()):
                raise ValueError(
                    f"mixture: {task.name!r} at level {level} has only {found[False]} distinct training problems and "
                    f"{found[True]} held-out ones, but {wanted[False]} and {wanted[True]} are wanted; "
                    f"ask for fewer, or widen its settings{failure}."
                )
            fruitless += 1
            try:
                entry = dataset[index]
            except Exception as error:  # some generators give up on some seeds
                failure = f" (its generator also failed with {error!r})"
                continue
            # Both, because a template may drop what made two questions differ.
            text = _render(template, task.name, entry)
            if entry["question"] in seen or text in seen:
                continue
            seen.update((entry["question"], text))
            side = is_held_out(entry["question"], HELD_OUT_SHARE)
            found[side] += 1
            fruitless = 0
            if missing[side]:
                yield entry, text


def _create(task: Task, level: int, settings: dict[str, Any], seed: int) -> Any:
    try:
        return create_dataset(task.name, **settings, seed=seed, size=_CHUNK)
    except Exception as error:
        raise ValueError(
            f"mixture: reasoning-gym refuses {task.name!r} at level {level} with {settings}: {error}; "
            "choose another level or give levels as dictionaries of settings."
        ) from error


def _render(template: str, name: str, entry: dict[str, Any]) -> str:
    try:
        return template.format(question=entry["question"], metadata=entry["metadata"])
    except KeyError as error:
        key, keys = error.args[0], sorted(map(str, entry["metadata"]))
        raise ValueError(
            f"template={template!r}: metadata of {name!r} has no key {key!r}{did_you_mean(key, keys)}; "
            f"it has {', '.join(keys)}."
        ) from error
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"template={template!r} cannot be filled in for a problem of {name!r}: {error}; "
            "take {question} or {metadata[KEY]}."
        ) from error


def _split(total: int, shares: list[float]) -> list[int]:
    """Split a number by shares, largest remainder first, so that counts are exact and depend on no seed."""
    exact = [total * share / sum(shares) for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts
