"""What a run does: the stages of the recipe, each from a resolved config and a folder to a finished model."""

import inspect
import json
from pathlib import Path
from typing import Any, NamedTuple

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
from k15_plugins.runs.models import tokenizer_of
from k15_plugins.runs.rewards import build_rewards, check_columns
from k15_plugins.runs.vocabulary import build_model, check_vocabulary
from k15_plugins.sampling import ProblemSampler
from k15_plugins.tasks.problems import Problems
from k15_plugins.trainers.checkpoint import check_checkpoint, checkpoints_in, is_half
from k15_plugins.trainers.checks import check_before


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


class Parts(NamedTuple):
    """What a trainer is given beside its model.

    Attributes:
        args (`GRPOConfig`): Its arguments.
        problems (`Problems`): To train on and to measure on.
        reward_funcs (`list[Callable]`): The rewards.
        sampler (`ProblemSampler`): Draws the problems.
    """

    args: Any
    problems: Problems
    reward_funcs: list[Any]
    sampler: ProblemSampler


def build_parts(config: dict[str, Any], run_dir: Path) -> Parts:
    """Build and check all that a trainer is given, but for the model, which takes longest.

    Args:
        config (`dict[str, Any]`): The resolved config.
        run_dir (`Path`): The run's folder.

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
            "hold some out, or set trainer.args.eval_strategy=no and trainer.args.eval_on_start=false."
        )
    if not isinstance(problems.train[0]["prompt"], str):
        given["processing_class"] = tokenizer_of(config["model"])
    check_before(given, sampler)
    return Parts(args, problems, reward_funcs, sampler)


def build_problems(config: dict[str, Any]) -> tuple[Problems, list[Any]]:
    """Load the problems, and make the rewards that judge them.

    Args:
        config (`dict[str, Any]`): The resolved config.

    Raises:
        ValueError: If there are no problems to train on, or they lack a column that a reward needs.
    """
    problems = build(config["task"])
    if not isinstance(problems, Problems):
        raise ValueError(
            f"task._target_={config['task']['_target_']} must return Problems, got a {type(problems).__name__}; see "
            "k15_plugins.tasks.problems."
        )
    # One of them may be empty: a benchmark has nothing to train on.
    columns = (problems.train if len(problems.train) else problems.held_out).column_names
    check_columns(config["reward"], columns, config["task"]["_target_"])
    return problems, build_rewards(config["reward"])


def check_train(config: dict[str, Any], problems: Problems) -> None:
    """Refuse a task of a stage that trains, if it has nothing to train on.

    Args:
        config (`dict[str, Any]`): The resolved config.
        problems (`Problems`): Its problems.

    Raises:
        ValueError: If there is no problem.
    """
    if not len(problems.train):
        task = config["task"]["_target_"].rpartition(".")[2]
        raise ValueError(
            f"task ({task}) has no problems to train on; take another task, or measure on it by evaluate."
        )


def build_trainer(config: dict[str, Any], run_dir: Path) -> Any:
    """Build the trainer of a config, with its model, problems, rewards and sampler.

    Args:
        config (`dict[str, Any]`): The resolved config.
        run_dir (`Path`): The run's folder.

    Returns:
        `SampledGRPOTrainer`: The trainer, or what `trainer._target_` names.
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
    sampler = build(node, **{key: value for key, value in known.items() if key in takes})
    if not isinstance(sampler, ProblemSampler):
        raise ValueError(
            f"sampler._target_={node['_target_']} must make a ProblemSampler, got a {type(sampler).__name__}; take "
            "sampler=prioritized, say."
        )
    return sampler


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
    problems, reward_funcs = build_problems(config)
    check_train(config, problems)
    model, tokenizer = build_model(config["model"], problems.train, problems.held_out)
    if is_first_rank():
        say(f"measuring the model on {len(problems.held_out)} held-out problems, before the training and after it")
    result = get_object(train["_target_"])(
        model,
        tokenizer,
        problems.train,
        problems.held_out,
        str(run_dir / folder.MODEL),
        reward_funcs[0],
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
