"""The stages of long2short (paper 2.4): from a long-thinking model to a short one, each from a config and a folder."""

import json
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed
from trl import SFTTrainer

from k15_plugins.long2short.shortest import shortest_rows
from k15_plugins.processes import is_first_rank
from k15_plugins.report.recorder import RunRecorder
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import set_up_devices
from k15_plugins.runs.rewards import build_rewards
from k15_plugins.runs.vocabulary import build_model
from k15_plugins.samples import SampledProblem, read_samples
from k15_plugins.stages.collect import Sampling, collect
from k15_plugins.stages.problems import build_problems, check_train
from k15_plugins.stages.train import quiet, train
from k15_plugins.trainers.long2short_dpo import Long2ShortDPOTrainer

SAMPLES = "samples"
UNSOLVED = "unsolved.json"


def rejection(
    config: dict[str, Any],
    run_dir: Path,
    sft: dict[str, Any],
    samples: str | None = None,
    num_samples: int = 8,
    batch_size: int = 256,
) -> None:
    """Shortest rejection sampling: sample, keep the shortest right response to each problem, train on these.

    Args:
        config: The resolved config.
        run_dir: The run's folder; takes the samples, the list of unsolved problems, and the model.
        sft: Node of TRL's `SFTConfig`.
        samples: Folder with samples of the same model; by default they are drawn here.
        num_samples: Responses to a problem; the paper takes 8.
        batch_size: Responses that are sampled at once.

    Raises:
        ValueError: If no problem has a right response.
    """
    model, tokenizer, _problems, sampled = _begin(config, run_dir, samples, num_samples, batch_size)
    rows, unsolved = shortest_rows(sampled)
    if not rows:
        raise ValueError(
            f"none of the {len(sampled)} problems has a right response to learn from; sample more of them."
        )
    if is_first_rank():
        (run_dir / UNSOLVED).write_text(json.dumps(unsolved) + "\n")
        print(
            f"k15: {len(rows)} shortest right responses; {len(unsolved)} problems without any ({UNSOLVED})", flush=True
        )
    args = build(sft, output_dir=str(run_dir / folder.CHECKPOINTS), seed=config["seed"])
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[RunRecorder(run_dir)],
    )
    train(trainer)
    trainer.save_model(str(run_dir / folder.MODEL))


def dpo(
    config: dict[str, Any],
    run_dir: Path,
    args: dict[str, Any],
    pairs: dict[str, Any],
    samples: str | None = None,
    num_samples: int = 8,
    batch_size: int = 256,
) -> None:
    """Long2short DPO: pairs of the shortest right response and longer ones, then TRL's DPO.

    Args:
        config: The resolved config.
        run_dir: The run's folder; takes the samples, the pairs, and the model.
        args: Node of `Long2ShortDPOConfig`.
        pairs: Node of `preference_pairs`.
        samples: Folder with samples of the same model; by default they are drawn here.
        num_samples: Responses to a problem; the paper takes 8.
        batch_size: Responses that are sampled at once.

    Raises:
        ValueError: If the samples give no pair.
    """
    model, tokenizer, problems, sampled = _begin(config, run_dir, samples, num_samples, batch_size)
    rows = build(pairs, problems=sampled)
    if not rows:
        raise ValueError(f"the samples of {len(sampled)} problems give no pair; sample more, or lower pairs.ratio.")
    if is_first_rank():
        (run_dir / "pairs.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    trainer = Long2ShortDPOTrainer(
        model=model,
        args=build(args, output_dir=str(run_dir / folder.CHECKPOINTS), seed=config["seed"]),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[RunRecorder(run_dir)],
        held_out=problems.held_out,
        reward_func=build_rewards(config["reward"])[0],
    )
    train(trainer)
    trainer.save_model(str(run_dir / folder.MODEL))


def _begin(
    config: dict[str, Any], run_dir: Path, samples: str | None, num_samples: int, batch_size: int
) -> tuple[Any, Any, Any, list[SampledProblem]]:
    quiet()
    set_up_devices()
    set_seed(config["seed"])
    problems, _ = build_problems(config)
    check_train(config, problems)
    if samples is not None:
        if not Path(samples).is_dir():
            raise ValueError(f"stage.samples={samples} does not exist; give the folder samples/ of a run, or null.")
        sampled = read_samples(Path(samples))
        return *build_model(config["model"], problems.train, problems.held_out), problems, sampled
    model, tokenizer = build_model(config["model"], problems.train, problems.held_out)
    sampling = Sampling(config, run_dir, problems.train, num_samples, batch_size)
    sampled = collect(sampling, model, tokenizer, run_dir / SAMPLES)
    return model, tokenizer, problems, sampled
