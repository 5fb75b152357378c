"""Values of a config that cannot be, refused before anything heavy is imported."""

import inspect
import math
from collections.abc import Iterator
from typing import Any

from k15_plugins.sandbox import pool
from k15_plugins.trainers.values import RANGES, Range

GROUPS = ("stage", "model", "task", "sampler", "trainer", "backend")
GROUP_NAMES = ("recipe", "model", "task", "sampler", "reward", "trainer", "backend", "generation")
"""What is chosen by an option on the command line."""
_ALL = ("model", "task", "sampler", "reward", "trainer")
_MEASURING = ("model", "task", "reward", "trainer")
NEEDED = {
    "k15_plugins.stages.reinforce.reinforce": _ALL,
    "k15_plugins.stages.warm_start.warm_start": ("model", "task", "reward"),
    "k15_plugins.stages.sft.sft": ("model",),
    "k15_plugins.stages.reward_model.reward_model": ("model", "task"),
    "k15_plugins.stages.cot_reward_model.cot_reward_model": ("model", "task", "trainer"),
    "k15_plugins.stages.long2short.rejection": _MEASURING,
    "k15_plugins.stages.long2short.dpo": _MEASURING,
    "k15_plugins.stages.evaluate.evaluate_models": _MEASURING,
    "k15_plugins.stages.select_checkpoint.select_checkpoint": _MEASURING,
    "k15_plugins.stages.curate.curate": _MEASURING,
}
"""The groups that a stage of this package cannot do without."""
NODES = {
    "k15_plugins.stages.reinforce.reinforce": ("trainer",),
    "k15_plugins.stages.warm_start.warm_start": ("stage.train", "stage.train.sft"),
    "k15_plugins.stages.sft.sft": ("stage.args",),
    "k15_plugins.stages.reward_model.reward_model": ("stage.args", "stage.rules"),
    "k15_plugins.stages.cot_reward_model.cot_reward_model": ("stage.args", "stage.rules"),
    "k15_plugins.stages.long2short.rejection": ("stage.sft",),
    "k15_plugins.stages.long2short.dpo": ("stage.args", "stage.pairs"),
    "k15_plugins.stages.curate.curate": ("stage.rules", "stage.guess"),
}
"""What else of it says by a `_target_` what it is."""
GIVING = ("k15_plugins.stages.reinforce.reinforce",)
GIVEN: dict[str, dict[str, str | None]] = {
    "trainer": {
        "model": "model",
        "processing_class": "model",
        "train_dataset": "task",
        "eval_dataset": "task",
        "reward_funcs": "reward",
        "sampler": "sampler",
        "callbacks": None,
        "engine": "backend",
    },
    "sampler": {"num_problems": "task", "levels": "task"},
}
"""What reinforce gives a trainer and a sampler itself, and the group that it is made from."""


_WHOLE: Range = (lambda value: isinstance(value, int) and value >= 1, "a whole number from 1")
_SHARE: Range = (lambda value: 0 <= value <= 1, "from 0 to 1")
# A script may train at rate 0 to measure something; a run's is a slip.
_RANGES: dict[str, Range] = RANGES | {"learning_rate": (lambda value: value > 0, "above 0")}
_OF_ADAPTERS: dict[str, Range] = {
    "r": _WHOLE,
    "lora_alpha": (lambda value: value > 0, "above 0"),
    "lora_dropout": (lambda value: 0 <= value < 1, "from 0 to below 1"),
}
_OF_STAGES: dict[str, Range] = dict.fromkeys(
    (
        *("num_samples", "batch_size", "size", "traces", "max_new_tokens", "evaluation_batch_size", "workers"),
        *("pairs_per_problem", "held_out_pairs"),
    ),
    _WHOLE,
) | dict.fromkeys(("p_wrong", "p_check", "clean_share", "accuracy_loss", "opener_share", "held_out"), _SHARE)
_OF_GROUPS = {"stage": _OF_STAGES, **{name: {"seed": RANGES["seed"]} for name in ("model", "sampler")}}


def check_values(config: dict[str, Any]) -> None:
    """Refuse a group that is no group, a number that is none, and one that is out of range.

    Args:
        config: The resolved config.

    Raises:
        ValueError: Naming the key, its value and what it may be.
    """
    seed, metric, resume = config.get("seed"), config.get("metric"), config.get("resume")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0 or seed >= 2**32:
        raise ValueError(f"seed must be a whole number from 0 to {2**32 - 1}, got {seed!r}; set 0, say.")
    if metric is not None and (not isinstance(metric, str) or not metric):
        raise ValueError(f"metric must be the name of a figure or null, got {metric!r}; take eval_k15/accuracy, say.")
    if resume is not None and not isinstance(resume, str):
        raise ValueError(f"resume must be the folder of a run, got {resume!r:.100}; give one that a run printed.")
    for name in GROUPS:
        # A stage of somebody else's may keep anything under trainer.
        if name != "trainer" or config["stage"]["_target_"] in NEEDED:
            _check_group(name, config.get(name), optional=name not in ("stage", "backend"))
    _check_rewards(config.get("reward"))
    _check_pool(config.get("rewards"))
    for name in NEEDED.get(config["stage"]["_target_"], ()):
        if not config.get(name):
            stage = config["stage"]["_target_"].rpartition(".")[2]
            raise ValueError(f"{name} must not be empty, for the stage {stage} needs it; choose one by {name}=....")
    for path in NODES.get(config["stage"]["_target_"], ()):
        node: Any = config
        for key in path.split("."):
            node = node.get(key) if isinstance(node, dict) else None
        if not isinstance(node, dict) or "_target_" not in node:
            choose = (
                "take trainer=mirror_descent or trainer=grpo" if path == "trainer" else "leave it as the recipe has it"
            )
            raise ValueError(f"{path}._target_ must name a class or function, and is missing; {choose}.")
    if config["stage"]["_target_"] in GIVING:
        _check_given(config)
    for path, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{path} must be a finite number, got {value}; take another, or leave it out.")
    _check_ranges(config)


def _check_given(config: dict[str, Any]) -> None:
    for name, keys in GIVEN.items():
        for key, group in keys.items():
            if key in config[name]:
                cure = "leave it out" if group is None else f"choose {group}=..., and leave it out"
                raise ValueError(f"{name}.{key} is the run's own, got {config[name][key]!r:.100}; {cure}.")


def _check_group(name: str, node: Any, optional: bool) -> None:
    if node is None and optional:
        return
    if not isinstance(node, dict) or not node:
        raise ValueError(
            f"{name} must be a group of keys, got {node!r:.100}; choose one by {name}=..., or leave it out."
        )
    if name == "trainer":
        # A stage that trains nothing by rewards has the arguments of generation only.
        if not isinstance(node.get("args"), dict):
            raise ValueError(f"trainer.args must be a group of keys, got {node.get('args')!r:.100}; leave it out.")
        node = node["args"] if "_target_" not in node else node
        name = name if "_target_" in node else "trainer.args"
    if not isinstance(node.get("_target_"), str) or not node["_target_"]:
        raise ValueError(
            f"{name}._target_ must be the dotted name of a class or function, got {node.get('_target_')!r:.100}; "
            "leave it as the group has it."
        )


def _check_rewards(nodes: Any) -> None:
    if nodes is None:
        return
    if not isinstance(nodes, dict):
        raise ValueError(f"reward must be a group of rewards by name, got {nodes!r:.100}; choose one by reward=....")
    for name, node in nodes.items():
        if not isinstance(node, dict) or not isinstance(node.get("_target_"), str) or not node["_target_"]:
            raise ValueError(
                f"reward.{name} must have a _target_, and has none; set the class or function, or remove it."
            )


def _check_pool(node: Any) -> None:
    if node is None:
        return
    known = list(inspect.signature(pool.use).parameters)
    if not isinstance(node, dict) or (unknown := [key for key in node if key not in known]):
        given = node if not isinstance(node, dict) else unknown[0]
        raise ValueError(
            f"rewards must be a group of the keys {', '.join(known)}, got {given!r:.100}; leave it out, and choose "
            "reward functions by reward=...."
        )
    pool.check_use(**node)


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def _check_ranges(config: dict[str, Any]) -> None:
    for path, node in nodes_of_arguments(config):
        for key, value in node.items():
            good, words = _RANGES.get(key, (None, ""))
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if (good is not None and number and not good(value)) or (key == "num_generations" and value is None):
                raise ValueError(f"{path}.{key} must be {words}, got {value}; take such a number, or leave it out.")
    for path, value in _leaves(config):
        group, _, key = path.partition(".")
        table = _OF_ADAPTERS if path.startswith("model.lora.") else _OF_GROUPS.get(group, {})
        good, words = table.get(key.rpartition(".")[2], (None, ""))
        if good is not None and isinstance(value, int | float) and not good(value):
            raise ValueError(f"{path} must be {words}, got {value}; take such a number, or leave it out.")


def nodes_of_arguments(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the nodes of training arguments, with their dotted keys.

    Args:
        node: The config, or a part of it.
        path: Dotted key of that part.
    """
    if not isinstance(node, dict):
        return
    # MirrorDescentConfig, GRPOConfig, SFTConfig, TrainingArguments ...; ranges of adapters are peft's own.
    target = str(node.get("_target_"))
    if target.endswith(("Config", "Arguments")) and not target.startswith("peft."):
        yield path, node
    for key, child in node.items():
        yield from nodes_of_arguments(child, f"{path}.{key}" if path else str(key))
