"""What the job checks before its stage begins: the nodes of the config, and all training arguments in it."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from k15_plugins.runs import folder, keys, values
from k15_plugins.runs.build import build
from k15_plugins.trainers.values import check_values

_OF_THE_RUN = (("output_dir", "hydra.run.dir"), ("seed", "seed"), ("resume_from_checkpoint", "resume"))

_CURES = {
    "generation_batch_size": "it is per_device_train_batch_size x updates_per_iteration (or steps_per_generation) x "
    "gradient_accumulation_steps x processes, so change one of these or num_generations",
    "bf16": "set trainer.args.bf16=false where there is no GPU",
}
"""For errors of TRL and transformers that name what follows from the fields of the config."""


def check_before_stage(config: dict[str, Any], run_dir: Path) -> None:
    """Refuse a config whose parts cannot be built; no model is loaded.

    Args:
        config: The resolved config, which passed `values.check_values`.
        run_dir: The run's folder.

    Raises:
        ValueError: Naming the key, its value and the cure.
    """
    _check_recipe(config)
    keys.check_nodes(config)
    _check_trainer(config)
    for path, node in values.nodes_of_arguments(config):
        for key, instead in _OF_THE_RUN:
            if key in node:
                raise ValueError(f"{path}.{key} is the run's own; set {instead}=... instead.")
        _check_arguments(path, node, config["seed"], run_dir)


def _check_recipe(config: dict[str, Any]) -> None:
    """Refuse GRPO with what the recipe, or the command, sets for the other trainer."""
    trainer = config.get("trainer") or {}
    args = trainer.get("args")
    is_grpo = str(trainer.get("_target_")).endswith(".SampledGRPOTrainer")
    if not is_grpo or not isinstance(args, dict) or args.get("_target_") != "trl.GRPOConfig":
        return
    from trl import GRPOConfig

    from k15_plugins.trainers.config import MirrorDescentConfig

    known, others = ({each.name for each in fields(kind)} for kind in (GRPOConfig, MirrorDescentConfig))
    if foreign := [key for key in args if key in others - known]:
        raise ValueError(
            f"trainer.args must hold arguments of GRPOConfig, got {', '.join(foreign)}, which only "
            "trainer=mirror_descent has; take +recipe=grpo for trainer=grpo, and leave them out."
        )


def _check_trainer(config: dict[str, Any]) -> None:
    """Refuse a trainer that cannot take what the run gives it, TRL's own say."""
    if config["stage"]["_target_"] not in values.GIVING:
        return
    name = config["trainer"]["_target_"]
    known, open_ended = keys.parameters(get_object(name))
    missing = [key for key in values.GIVEN["trainer"] if key not in known and key != "engine"]
    if missing and not open_ended:
        raise ValueError(
            f"trainer._target_ must be a trainer that takes {missing[0]}, got {name}, which does not; take "
            "trainer=mirror_descent or trainer=grpo, or a subclass of theirs."
        )


def _check_arguments(path: str, node: dict[str, Any], seed: int, run_dir: Path) -> None:
    from transformers import TrainingArguments
    from transformers.integrations import get_reporting_integration_callbacks

    from k15_plugins.runs.devices import set_up_devices
    from k15_plugins.trainers.option_checks import check_training

    if not issubclass(get_object(node["_target_"]), TrainingArguments):
        return
    set_up_devices()
    try:
        args = build(node, output_dir=str(run_dir / folder.CHECKPOINTS), seed=seed)
        for tracker in get_reporting_integration_callbacks(args.report_to):
            tracker()
        check_values(args)
        check_training(args)
    except (ValueError, TypeError, ArithmeticError, RuntimeError, ImportError) as error:
        text = " ".join(str(error).split()).rstrip(".")
        cure = next((cure for word, cure in _CURES.items() if word in text and word not in node), "correct it")
        raise ValueError(f"{path}: {text}; {cure}." if ";" not in text else f"{path}: {text}.") from error
