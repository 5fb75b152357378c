"""A job for `test_processes.py`: the loss of one rank alone is not finite in some updates; tells which ones moved."""

import json
import sys

import tiny
import torch
from transformers import TrainerCallback

from k15_plugins.processes import leave_processes
from k15_plugins.runs.devices import set_up_devices
from k15_plugins.trainers.stopped import TrainingStopped

NO_GRADIENT = {1, 5, 6, 7}  # updates
NO_LOSS = {3}  # its gradients are finite


class Breaking(tiny.MirrorDescentTrainer):
    """Breaks the first micro-batch of an update on the last rank."""

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, inputs)
        is_last = self.accelerator.process_index == self.accelerator.num_processes - 1
        if is_last and self._step % self.args.gradient_accumulation_steps == 0:
            if self.state.global_step in NO_GRADIENT:
                return loss * torch.nan
            if self.state.global_step in NO_LOSS:
                return loss + torch.inf
        return loss


class Watch(TrainerCallback):
    """Notes of each update whether weights or moments were changed by it."""

    def __init__(self):
        self.moved = []

    def on_pre_optimizer_step(self, args, state, control, **_):
        self.before = self.values()

    def on_step_end(self, args, state, control, **_):
        now = self.values()
        equal = len(now) == len(self.before)
        self.moved.append(not (equal and all(map(torch.equal, now, self.before))))

    def values(self):
        moments = [each for state in self.trainer.optimizer.state.values() for each in state.values()]
        return [getattr(each, "_local_tensor", each).clone() for each in [*self.trainer.model.parameters(), *moments]]


def main(folder: str, processes: int) -> None:
    set_up_devices()
    watch = Watch()
    watch.trainer = trainer = tiny.trainer(
        folder,
        Breaking,
        callbacks=[watch],
        per_device_train_batch_size=8 // processes,
        gradient_accumulation_steps=2,
        reset_optimizer=False,
        max_grad_norm=0.0,
        max_steps=10,
    )
    message = ""
    try:
        trainer.train()
    except TrainingStopped as stopped:
        message = str(stopped)
    result = {
        "wrapper": type(trainer.model_wrapped).__name__,
        "moved": watch.moved,
        "skipped": tiny.logs(trainer, "k15/skipped_updates"),
        "message": message,
    }
    with open(f"{folder}/rank{trainer.accelerator.process_index}.json", "w") as file:
        json.dump(result, file)
    leave_processes()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
