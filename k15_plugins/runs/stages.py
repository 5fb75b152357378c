"""What a run does: the stages of the recipe, each from a resolved config and a folder to a finished model."""

import inspect
import json
from pathlib import Path
from typing import Any

import datasets
from hydra.utils import get_object
from transformers import AutoTokenizer, PrinterCallback, ProgressCallback, set_seed
from transformers.utils import logging

from k15_plugins.report.card import CardWriter, write_cards
from k15_plugins.report.history import METRICS
from k15_plugins.report.recorder import RunRecorder
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import RefuseUnsharded, set_up_devices, wants_fsdp
from k15_plugins.runs.labels import say
from k15_plugins.runs.launch import is_first_rank
from k15_plugins.runs.megatron import MegatronBackend, model_folder
from k15_plugins.runs.rewards import build_rewards, check_columns
from k15_plugins.trainers.checkpoint import check_checkpoint, checkpoints_in, is_half


def reinforce(config: dict[str, Any], run_dir: Path) -> None:
    """Train by reinforcement learning, from the last complete checkpoint in the folder if there is one.

    Args:
        config (`dict[str, Any]`): The resolved config.
        run_dir (`Path`): The run's folder; takes metrics, rollouts, checkpoints and the model.

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


def train(trainer: Any, checkpoint: Path | None = None) -> None:
    """Train, and leave the terminal as it was however that ends.

    Args:
        trainer (`transformers.Trainer`): The trainer, with a `RunRecorder`, which shows the progress.
        checkpoint (`Path`, *optional*): Folder of the checkpoint to go on from.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, RunRecorder):
                callback.close()


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
        run_dir (`Path`): The run's folder.

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
        config (`dict[str, Any]`): The resolved config.
        run_dir (`Path`): The run's folder.

    Returns:
        `SampledGRPOTrainer`: The trainer, or what `trainer._target_` names.
    """
    for key, instead in (("output_dir", "hydra.run.dir"), ("seed", "seed"), ("resume_from_checkpoint", "resume")):
        if key in config["trainer"]["args"]:
            raise ValueError(f"trainer.args.{key} is the run's own; set {instead}=... instead.")
    set_up_devices()
    # The arguments come first: they set up the devices and processes which all else uses.
    args = build(config["trainer"]["args"], output_dir=str(run_dir / folder.CHECKPOINTS), seed=config["seed"])
    set_seed(config["seed"])
    problems = build(config["task"])
    check_columns(config["reward"], problems.train.column_names, config["task"]["_target_"])
    reward_funcs = build_rewards(config["reward"])
    if is_first_rank():
        say(f"{len(problems.train)} problems to train on, {len(problems.held_out)} held out; loading the model")
    trainer_node = {key: value for key, value in config["trainer"].items() if key != "args"}
    backend = build(config["backend"])
    given: dict[str, Any] = {}
    if isinstance(backend, MegatronBackend):
        trainer_node["_target_"] = "k15_plugins.trainers.megatron.MegatronMirrorDescentTrainer"
        model = model_folder(config["model"], run_dir)
        tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
        given["engine"] = backend.engine_settings()
    else:
        model, tokenizer = build(config["model"])
    trainer = build(
        trainer_node,
        model=model,
        args=args,
        reward_funcs=reward_funcs,
        train_dataset=problems.train,
        eval_dataset=problems.held_out if len(problems.held_out) else None,
        processing_class=tokenizer,
        callbacks=[RunRecorder(run_dir), CardWriter(run_dir)],
        sampler=build_sampler(config["sampler"], problems.train["level"], config["seed"]),
        **given,
    )
    if wants_fsdp():
        trainer.add_callback(RefuseUnsharded())
    return trainer


def build_sampler(node: dict[str, Any], levels: list[int], seed: int) -> Any:
    """Build a sampler for problems that are only known now.

    Args:
        node (`dict[str, Any]`): Node of the `sampler` group.
        levels (`list[int]`): Difficulty of each problem.
        seed (`int`): Seed of the draws.
    """
    known: dict[str, Any] = {"num_problems": len(levels), "seed": seed}
    # Only a schedule looks at levels, and a sampler that has none refuses them.
    if "schedule" in node:
        known["levels"] = levels
    takes = inspect.signature(get_object(node["_target_"])).parameters
    return build(node, **{key: value for key, value in known.items() if key in takes})


def warm_start(config: dict[str, Any], run_dir: Path, train: dict[str, Any]) -> None:
    """Train a model on written chains of thought before reinforcement learning (paper 2.2).

    Args:
        config (`dict[str, Any]`): The resolved config.
        run_dir (`Path`): The run's folder; takes the figures before (step 0) and after (step 1), and the model.
        train (`dict[str, Any]`): Node of `k15_plugins.runs.warm_start.warm_start`, its `sft` one of `SFTConfig`.
    """
    quiet()
    set_up_devices()
    set_seed(config["seed"])
    problems = build(config["task"])
    model, tokenizer = build(config["model"])
    if is_first_rank():
        say(f"measuring the model on {len(problems.held_out)} held-out problems, before the training and after it")
    result = get_object(train["_target_"])(
        model,
        tokenizer,
        problems.train,
        problems.held_out,
        str(run_dir / folder.MODEL),
        build(next(iter(config["reward"].values()))),
        seed=config["seed"],
        callbacks=[RunRecorder(run_dir)],
        sft={key: value for key, value in train["sft"].items() if key != "_target_"},
        **{key: value for key, value in train.items() if key not in ("_target_", "sft")},
    )
    if is_first_rank():
        lines = [{"step": step, "iteration": 0, **result[when]} for step, when in enumerate(("before", "after"))]
        (run_dir / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))


def quiet() -> None:
    """Leave the terminal to the run's own figures."""
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
