"""A training on a Megatron job for `test_megatron_trainer.py`; run as a script it trains until it is killed."""

import os
import signal
import sys
from pathlib import Path

import psutil
import tiny
import torch
from torch import distributed
from transformers import TrainerCallback

from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.settings import EngineSettings
from k15_plugins.trainers.megatron import MegatronMirrorDescentTrainer

SETTINGS = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "updates_per_iteration": 2,
    "max_completion_length": 10,
    "rollout_budget_tokens": 4,
    "fail_truncated": False,
    "max_steps": 6,
    "save_strategy": "steps",
    "save_steps": 3,
    "weight_decay": 0.1,
    "max_grad_norm": 0.3,
    "lr_scheduler_type": "linear",
    "learning_rate": 3e-3,
    "adam_epsilon": 1e-2,  # else Adam's first step has the size of the sign: rounding of gradients would show
}


def saved_model(folder: Path) -> str:
    """Save a tiny model whose tokens depend on what came before and that ends now and then; return its folder."""
    model = tiny.model()
    with torch.no_grad():
        model.lm_head.weight *= 10
        model.lm_head.weight[model.config.eos_token_id] *= 3
    model.save_pretrained(folder / "model")
    return str(folder / "model")


def build(folder: Path, model: str, layout: dict[str, int], **changes) -> MegatronMirrorDescentTrainer:
    """Return a trainer that drives a job of this layout; rows make several micro-batches."""
    engine = EngineSettings(MegatronLayout(**layout), max_tokens_per_micro_batch=64)
    settings = SETTINGS | changes
    return tiny.trainer(folder, MegatronMirrorDescentTrainer, model=model, engine=engine, **settings)


def processes_of(trainer: MegatronMirrorDescentTrainer) -> list[psutil.Process]:
    """Return torchrun and the ranks, in their order."""
    torchrun = psutil.Process(trainer.engine._job.pid)
    return [torchrun, *sorted(torchrun.children(), key=lambda each: int(each.environ()["RANK"]))]


class DeadlyLoss:
    """A loss that kills rank 1 where it is computed, while rank 0 waits for it.

    Args:
        loss: The other ranks'.
    """

    def __init__(self, loss):
        self.loss = loss

    def __call__(self, *arguments):
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return self.loss(*arguments)


class BrokenLoss:
    """A loss that is not finite on the last rank alone.

    Args:
        loss: The other ranks'.
    """

    def __init__(self, loss):
        self.loss = loss

    def __call__(self, *arguments):
        total, figures = self.loss(*arguments)
        is_last = distributed.get_rank() == distributed.get_world_size() - 1
        return total * (torch.nan if is_last else 1.0), figures


class _Tell(TrainerCallback):
    def __init__(self, folder: Path):
        self.folder = folder

    def on_step_end(self, args, state, control, **_):
        if state.global_step == 1:
            numbers = " ".join(str(each.pid) for each in processes_of(self.trainer))
            (self.folder / "pids.part").write_text(numbers)
            (self.folder / "pids.part").rename(self.folder / "pids")


def main(folder: Path) -> None:
    """Train, and write the processes of the job to `pids` after the first update."""
    tell = _Tell(folder)
    layout = {"processes": 2, "tensor_parallel": 2}
    tell.trainer = build(folder, saved_model(folder), layout, max_steps=10**6, save_strategy="no", callbacks=[tell])
    tell.trainer.train()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
