"""Sampling in a run: the config's engine on some problems, shown while it works, and gone on with after a kill."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from trl import GRPOTrainer

from k15_plugins.generation.engines import prepare_vllm
from k15_plugins.generation.trl_generation import TrlGeneration
from k15_plugins.report.terminal import duration
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import set_up_devices, wants_fsdp
from k15_plugins.runs.rewards import build_rewards
from k15_plugins.samples import SampledProblem, read_samples
from k15_plugins.samples.draw import sample_to_files


@dataclass(frozen=True)
class Sampling:
    """What a run samples, and how.

    Attributes:
        config: The resolved config: `trainer.args` (TRL's `GRPOConfig`), `reward` (the first one gives the verdict)
            and `seed`.
        run_dir: The run's folder.
        problems: What to sample.
        num_samples: Responses to a problem.
        batch_size: Responses that each process samples at once.
        reward_func: Gives the verdict in place of the config's reward, if it is not None.
    """

    config: dict[str, Any]
    run_dir: Path
    problems: Dataset
    num_samples: int
    batch_size: int
    reward_func: Any = None


def collect(sampling: Sampling, model: Any, tokenizer: Any, into: Path) -> list[SampledProblem]:
    """Sample what a folder does not hold yet, on all processes, with the engine and settings of `trainer.args`.

    Args:
        sampling: What to sample, and how.
        model: A `PreTrainedModel`.
        tokenizer: Its tokenizer.
        into: Folder for the samples.

    Returns:
        All problems with their samples, also those that were there already.

    Raises:
        ValueError: If the model would be sharded, or the samples that are there were drawn otherwise.
    """
    if wants_fsdp():
        raise ValueError("backend=fsdp shards the model, and sampling needs it whole; take backend=accelerate.")
    set_up_devices()
    config, problems, num_samples = sampling.config, sampling.problems, sampling.num_samples
    args = build(config["trainer"]["args"], output_dir=str(sampling.run_dir / folder.CHECKPOINTS), seed=config["seed"])
    reward_func = sampling.reward_func or build_rewards(config["reward"])[0]
    prepare_vllm(model, args)
    trainer = GRPOTrainer(
        model=model, reward_funcs=reward_func, args=args, train_dataset=problems, processing_class=tokenizer
    )
    state = PartialState()
    show = _Progress(len(problems), state.num_processes, state.is_main_process)
    sample_to_files(
        TrlGeneration(trainer),
        problems,
        reward_func,
        into,
        num_samples=num_samples,
        batch_size=sampling.batch_size,
        seed=config["seed"],
        part=(state.process_index, state.num_processes),
        progress=show,
    )
    state.wait_for_everyone()
    sampled = read_samples(into)
    if len(sampled) != len(problems) or any(len(problem.samples) != num_samples for problem in sampled):
        raise ValueError(
            f"{into} holds samples of other problems or of another number than num_samples={num_samples}; "
            "take another folder."
        )
    return sampled


class _Progress:
    """A line every few seconds: what was sampled, how much of it is right, and how long it will take."""

    def __init__(self, total: int, processes: int, speaks: bool, every_seconds: float = 10.0) -> None:
        self.total, self.processes, self.speaks, self.every = total, processes, speaks, every_seconds
        self.done = self.right = self.tokens = self.samples = self.before = 0
        self.began = self.spoke = time.monotonic()
        self.first = True

    def __call__(self, batch: list[SampledProblem]) -> None:
        for problem in batch:
            self.right += sum(sample.right for sample in problem.samples)
            self.tokens += sum(sample.tokens for sample in problem.samples)
            self.samples += len(problem.samples)
        # What was there already is everyone's; a batch is this process's own, and the others keep pace.
        self.done = min(self.total, self.done + len(batch) * (1 if self.first else self.processes))
        if self.first:
            self.before, self.first = self.done, False
            if batch and self.speaks:
                print(f"k15: {self.done} of {self.total} problems are sampled already", flush=True)
            return
        now = time.monotonic()
        if self.speaks and (now - self.spoke >= self.every or self.done == self.total):
            self.spoke = now
            pace = (now - self.began) / (self.done - self.before)
            left = pace * (self.total - self.done)
            print(
                f"sampled {self.done}/{self.total} problems  right {self.right / self.samples:.3f}  "
                f"tokens {self.tokens / self.samples:.1f}  ETA {duration(left)}",
                flush=True,
            )
