"""Step time and peak memory against the stock GRPOTrainer on the same work: `python benchmarks/step_cost.py`.

Each arm trains the same random Llama on the same prompts, with responses of one fixed length, in a process of its own;
the arms take turns. Writes the table to `docs/results/step_cost.md`, as ratios to the stock trainer.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[1] / "docs" / "results" / "step_cost.md"
ROUNDS = 3
ITERATIONS = 3
TOKENS = 48
WEIGHTS = "9 million"
STOCK = "GRPOTrainer"
ARMS = (STOCK, "GRPOTrainer, beta=0.04", "MirrorDescentTrainer", "MirrorDescentTrainer, beta=0.04")


def train(arm: str, folder: str) -> dict[str, float]:
    """Train one arm and return its seconds an iteration and its peak memory in MB."""
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback, set_seed
    from trl import GRPOConfig, GRPOTrainer

    from k15_plugins import MirrorDescentConfig, MirrorDescentTrainer
    from k15_plugins.models.tiny_reasoner import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    set_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8192,
            hidden_size=256,
            intermediate_size=704,
            num_hidden_layers=6,
            num_attention_heads=4,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    common: dict[str, Any] = {
        "output_dir": folder,
        "per_device_train_batch_size": 8,
        "num_generations": 8,
        "max_completion_length": TOKENS,
        "generation_kwargs": {"min_new_tokens": TOKENS},
        "max_steps": 2 * ITERATIONS,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "use_cpu": True,
        "beta": 0.04 if "beta" in arm else 0.0,
    }
    if arm.startswith(STOCK):
        kind, args = GRPOTrainer, GRPOConfig(steps_per_generation=2, gradient_accumulation_steps=1, **common)
    else:
        kind, args = MirrorDescentTrainer, MirrorDescentConfig(updates_per_iteration=2, **common)

    def odd_start(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [float(ids[0] % 2) for ids in completion_ids]

    class Clock(TrainerCallback):
        """Notes the processor time after each update, which other work on the machine hardly touches."""

        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.process_time())

    clock = Clock()
    trainer = kind(
        folder,
        [odd_start],
        args,
        train_dataset=Dataset.from_dict({"prompt": [f"{i % 60} + {i // 60} =" for i in range(64)]}),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.train()
    iterations = [end - start for start, end in zip(clock.seconds[1::2], clock.seconds[3::2], strict=False)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": statistics.median(iterations), "peak_mb": peak / (1 if sys.platform == "darwin" else 1024)}


def main() -> None:
    """Let the arms take turns, and write the table."""
    results: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for number in range(ROUNDS):
        for arm in ARMS:
            began = time.time()
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, __file__, arm, folder]
                output = subprocess.run(
                    command, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
                ).stdout
            results[arm].append(json.loads(output.splitlines()[-1]))
            print(f"round {number + 1}, {arm}: {results[arm][-1]} ({time.time() - began:.0f} s)", flush=True)
    stock = results[STOCK]
    lines = [
        "# Step time and peak memory",
        "",
        f"A random Llama of {WEIGHTS} weights in float32 on one core, with 16 rollouts of {TOKENS} tokens and 2 "
        f"updates in each iteration. Seconds are processor time: the median of {ITERATIONS - 1} iterations. The "
        f"trainers take turns in {ROUNDS} rounds. Ratios are computed within a round; brackets are their range. Made "
        "by `python benchmarks/step_cost.py`.",
        "",
        "| trainer | seconds an iteration | ratio | peak memory (MB) | ratio |",
        "|---|---|---|---|---|",
    ]
    for arm, rounds in results.items():
        cells = []
        for key, digits in (("seconds", 2), ("peak_mb", 0)):
            ratios = [mine[key] / other[key] for mine, other in zip(rounds, stock, strict=True)]
            cells.append(f"{statistics.median(each[key] for each in rounds):.{digits}f}")
            cells.append(f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(train(sys.argv[1], sys.argv[2])))
    else:
        main()
