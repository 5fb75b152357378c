"""A job for `test_partial_rollouts_processes.py`: partial rollouts whose segments follow from their place alone.

The trajectories of all processes are numbered, so one process and two are given the same segments and must agree.
"""

import json
import random
import sys

import tiny
from train_on_fixed_rollouts import Listener

from k15_plugins import PrioritizedSampler
from k15_plugins.generation.segments import Segment
from k15_plugins.processes import leave_processes
from k15_plugins.runs.devices import set_up_devices
from k15_plugins.trainers import partial_rollouts


def fixed_segments(trainer, request):
    rank, processes = trainer.accelerator.process_index, trainer.accelerator.num_processes
    segments = []
    for row, allowance in enumerate(request.allowances):
        place = rank + row * processes
        source = random.Random(f"{trainer.iteration} {place} {len(request.started[row])}")
        tokens = [source.randrange(3, len(trainer.processing_class)) for _ in range(source.randrange(1, 9))]
        ids = [*tokens, trainer.processing_class.eos_token_id][:allowance]
        segments.append(Segment(ids, [-1.0] * len(ids)))
    return segments


def main(folder: str, processes: int) -> None:
    set_up_devices()
    partial_rollouts.generate_segments = fixed_segments
    listener = Listener()
    trainer = tiny.MirrorDescentTrainer(
        tiny.model(),
        [tiny.odd_start],
        tiny.MirrorDescentConfig(
            **tiny.arguments(
                folder,
                optim="sgd",
                learning_rate=0.1,
                per_device_train_batch_size=12 // processes,
                num_iterations=2,
                max_steps=12,
                max_completion_length=10,
                rollout_budget_tokens=4,
                segments_in_loss="current",
                length_penalty_weight=1.0,
            )
        ),
        train_dataset=tiny.problems(),
        processing_class=tiny.tiny_tokenizer(),
        sampler=PrioritizedSampler(12, seed=1),
        callbacks=[listener],
    )
    trainer.train()
    held = trainer.rollouts.buffer.groups
    result = {
        "processes": trainer.accelerator.num_processes,
        "rates": trainer.sampler.success_rates.mean().tolist(),
        "rollouts": listener.rollouts,
        "held": [(group.problem, [each.segments for each in group.trajectories]) for group in held],
        "logs": [entry for entry in trainer.state.log_history if "loss" in entry],
    }
    with open(f"{folder}/rank{trainer.accelerator.process_index}.json", "w") as file:
        json.dump(result, file)
    leave_processes()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
