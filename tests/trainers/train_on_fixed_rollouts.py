"""A job for `test_processes.py`: trains on rollouts that do not depend on the number of processes, and writes figures.

Every response follows from its place in the batch of all processes, and every update takes the whole batch, so one
process and two must agree.
"""

import json
import random
import sys

import tiny
from transformers import TrainerCallback

from k15_plugins import PrioritizedSampler
from k15_plugins.processes import leave_processes
from k15_plugins.runs.devices import set_up_devices


def fixed_rollouts(prompts, trainer):
    rank, tokenizer = trainer.accelerator.process_index, trainer.processing_class
    prompt_ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    completion_ids = []
    for place in range(rank * len(prompts), (rank + 1) * len(prompts)):
        source = random.Random(1000 * trainer.iteration + place)
        tokens = [source.randrange(3, len(tokenizer)) for _ in range(source.randrange(1, 12))]
        completion_ids.append([*tokens, tokenizer.eos_token_id])
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}


def steps(completion_ids, **_):
    return [ids[-2] % 5 / 4 for ids in completion_ids]


class Listener(TrainerCallback):
    def __init__(self):
        self.rollouts = []

    def on_rollouts(self, trainer, rollouts):
        self.rollouts += rollouts


def main(folder: str, processes: int, checkpoint: str | None = None) -> None:
    set_up_devices()
    listener = Listener()
    trainer = tiny.MirrorDescentTrainer(
        tiny.model(),
        [tiny.odd_start, steps],
        tiny.MirrorDescentConfig(
            **tiny.arguments(
                folder,
                adam_epsilon=1.0,  # else Adam's first step has the size of the sign: rounding of gradients would show
                learning_rate=0.1,
                save_strategy="steps",
                save_steps=5,
                per_device_train_batch_size=12 // processes,
                num_iterations=2,
                max_steps=8,
                process_reward="steps",
                length_penalty_weight=1.0,
                length_penalty_warmup_iterations=1,
            )
        ),
        train_dataset=tiny.problems(),
        processing_class=tiny.tiny_tokenizer(),
        sampler=PrioritizedSampler(12, seed=1),
        rollout_func=fixed_rollouts,
        callbacks=[listener],
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    result = {
        "wrapper": type(trainer.model_wrapped).__name__,
        "processes": trainer.accelerator.num_processes,
        "drawn": [sorted(set(trainer.sampler._drawn.tolist()))],
        "rates": trainer.sampler.success_rates.mean().tolist(),
        "rollouts": listener.rollouts,
        "logs": [entry for entry in trainer.state.log_history if "loss" in entry],
    }
    with open(f"{folder}/rank{trainer.accelerator.process_index}.json", "w") as file:
        json.dump(result, file)
    leave_processes()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
