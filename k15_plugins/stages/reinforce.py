"""Reinforcement learning from a resolved config and a folder to a finished model (paper 2.3)."""

import inspect
from pathlib import Path
from typing import Any, NamedTuple

from hydra.utils import get_object
from transformers import AutoTokenizer, set_seed

from k15_plugins.models import tokenizer_of
from k15_plugins.processes import is_first_rank
from k15_plugins.report.card import CardWriter, write_cards
from k15_plugins.report.recorder import RunRecorder
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import RefuseUnsharded, set_up_devices, wants_fsdp
from k15_plugins.runs.labels import say
from k15_plugins.runs.megatron import MegatronBackend, model_folder
from k15_plugins.runs.vocabulary import build_model, check_vocabulary
from k15_plugins.sampling import ProblemSampler
from k15_plugins.stages.problems import build_problems, check_train
from k15_plugins.stages.train import quiet, train
from k15_plugins.tasks.problems import Problems
from k15_plugins.trainers.checkpoint import check_checkpoint, checkpoints_in, is_half
from k15_plugins.trainers.checks import check_before


def reinforce(config: dict[str, Any], run_dir: Path) -> None:
    """Train by reinforcement learning, from the last complete checkpoint in the folder if there is one.

    Args:
        config: The resolved config.
        run_dir: The run's folder; takes metrics, rollouts, checkpoints and the model.

    Raises:
        ValueError: If a checkpoint is damaged, or a part of the config is out of range.
    """
    quiet()
    checkpoint = checkpoint_to_resume(run_dir)
    trainer = build_trainer(config, run_dir)
    if trainer.accelerator.is_main_process and config["resume"] is not None:
        say(f"going on from {checkpoint.name}" if checkpoint else "no checkpoint yet; from the beginning")
    # The model of a checkpoint was measured when it was saved.
    trainer.args.eval_on_start &= checkpoint is None
    if trainer.accelerator.is_main_process:
        say(_plan(trainer))
    train(trainer, checkpoint)
    trainer.save_model(str(run_dir / folder.MODEL))
    if is_first_rank():
        write_cards(run_dir)


def _plan(trainer: Any) -> str:
    """Say what an iteration is, and what comes before the first."""
    args = trainer.args
    problems = args.generation_batch_size // trainer.num_generations
    text = f"each iteration {problems} problems x {trainer.num_generations} responses"
    return text + ("; the held-out problems first" if args.eval_on_start else "")


def checkpoint_to_resume(run_dir: Path) -> Path | None:
    """Return the newest complete checkpoint of a run, or None if it has none.

    The half of a checkpoint that the run was killed over is passed over.

    Args:
        run_dir: The run's folder.

    Raises:
        ValueError: If a checkpoint is truncated, or none of ours.
    """
    for path in reversed(checkpoints_in(run_dir / folder.CHECKPOINTS).values()):
        if not is_half(path):
            check_checkpoint(path)
            return path
    return None


def build_trainer(config: dict[str, Any], run_dir: Path) -> Any:
    """Build the trainer of a config, with its model, problems, rewards and sampler.

    Args:
        config: The resolved config.
        run_dir: The run's folder.

    Returns:
        The trainer, or what `trainer._target_` names.
    """
    args, problems, reward_funcs, sampler = build_parts(config, run_dir)
    if is_first_rank():
        say(f"{len(problems.train)} problems to train on, {len(problems.held_out)} held out; loading the model")
    trainer_node = {key: value for key, value in config["trainer"].items() if key != "args"}
    backend = build(config["backend"])
    given: dict[str, Any] = {}
    model: Any
    tokenizer: Any
    if isinstance(backend, MegatronBackend):
        trainer_node["_target_"] = "k15_plugins.trainers.megatron.MegatronMirrorDescentTrainer"
        model = model_folder(config["model"], run_dir)
        tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
        check_vocabulary(tokenizer, problems.train, problems.held_out)
        given["engine"] = backend.engine_settings()
    else:
        model, tokenizer = build_model(config["model"], problems.train, problems.held_out)
    trainer = build(
        trainer_node,
        model=model,
        args=args,
        reward_funcs=reward_funcs,
        train_dataset=problems.train,
        eval_dataset=problems.held_out if len(problems.held_out) else None,
        processing_class=tokenizer,
        callbacks=[RunRecorder(run_dir), CardWriter(run_dir)],
        sampler=sampler,
        **given,
    )
    if wants_fsdp():
        trainer.add_callback(RefuseUnsharded())
    return trainer


class Parts(NamedTuple):
    """What a trainer is given beside its model.

    Attributes:
        args: Its arguments.
        problems: To train on and to measure on.
        reward_funcs: The rewards.
        sampler: Draws the problems.
    """

    args: Any
    problems: Problems
    reward_funcs: list[Any]
    sampler: ProblemSampler


def build_parts(config: dict[str, Any], run_dir: Path) -> Parts:
    """Build and check all that a trainer is given, but for the model, which takes longest.

    Args:
        config: The resolved config.
        run_dir: The run's folder.

    Raises:
        ValueError: If a part is out of range, or two do not go together.
    """
    set_up_devices()
    # The arguments come first: they set up the devices and processes which all else uses.
    args = build(config["trainer"]["args"], output_dir=str(run_dir / folder.CHECKPOINTS), seed=config["seed"])
    set_seed(config["seed"])
    problems, reward_funcs = build_problems(config)
    check_train(config, problems)
    sampler = build_sampler(config["sampler"], problems.train["level"], config["seed"])
    given = {
        "train_dataset": problems.train,
        "eval_dataset": problems.held_out if len(problems.held_out) else None,
        "reward_funcs": reward_funcs,
        "args": args,
    }
    if not len(problems.held_out) and args.eval_strategy != "no":
        raise ValueError(
            f"trainer.args.eval_strategy={args.eval_strategy.value} needs held-out problems, and the task has none; "
            "hold some out, or set trainer.args.eval_strategy=no trainer.args.eval_on_start=false "
            "metric=k15/accuracy."
        )
    if not isinstance(problems.train[0]["prompt"], str):
        given["processing_class"] = tokenizer_of(config["model"])
    check_before(given, sampler, config["trainer"].get("final_reward"))
    return Parts(args, problems, reward_funcs, sampler)


def build_sampler(node: dict[str, Any], levels: list[int], seed: int) -> Any:
    """Build a sampler for problems that are only known now.

    Args:
        node: Node of the `sampler` group.
        levels: Difficulty of each problem.
        seed: Seed of the draws.
    """
    known: dict[str, Any] = {"num_problems": len(levels), "seed": seed}
    # Only a schedule looks at levels, and a sampler that has none refuses them.
    if "schedule" in node:
        known["levels"] = levels
    takes = inspect.signature(get_object(node["_target_"])).parameters
    sampler = build(node, **{key: value for key, value in known.items() if key in takes})
    if not isinstance(sampler, ProblemSampler):
        raise ValueError(
            f"sampler._target_={node['_target_']} must make a ProblemSampler, got a {type(sampler).__name__}; take "
            "sampler=prioritized, say."
        )
    return sampler
