"""Partial against synchronous rollouts on lengths with a long tail: `python benchmarks/rollout_throughput.py`.

In an environment with vLLM both engines are measured, else transformers alone. An engine has a process of its own, in
which the modes take turns. Writes `docs/results/rollout_throughput.md` and `.png`. Time is processor time of one
thread, because the machine may have other work as well.
"""

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import chain_model
import numpy as np

RESULTS = Path(__file__).parents[1] / "docs" / "results"
DATA = Path(__file__).parent / "data" / "smollm2_lengths.json"
GROUPS = 8
ANSWERS = 4
UPDATES = 2
LONGEST_TOKENS = 2048
MEANS_TOKENS = [8, 12, 18, 27, 40, 60, 120, 360]
BUDGET = 8  # part of the longest response that a trajectory may get in an iteration
MODES: dict[str, dict[str, Any]] = {
    "synchronous": {},
    "budget": {},
    "pause": {"rollout_pause_share": 0.5, "rollout_pool_groups": 2 * GROUPS},
}
# First and last iteration measured. Before, the oldest rollouts of the partial modes come to be as old as they get.
MEASURED = {"synchronous": (1, 9), "budget": (9, 17), "pause": (9, 17)}

Figures = dict[str, float]
Results = dict[tuple[str, str, str], list[Figures]]  # by engine, lengths and mode; one for each round


def successors(lengths: str) -> chain_model.Successors:
    """Return what makes a model's responses as long as wanted: `sampled` lengths, or `replayed` ones."""
    if lengths == "sampled":
        return chain_model.mixture(MEANS_TOKENS)
    return chain_model.countdown([row["lengths"] for row in json.loads(DATA.read_text(encoding="utf-8"))])


class Record:
    """Notes when the engine runs, when an iteration's updates end, and what is trained on.

    Attributes:
        engine: (begin, end) of each call, processor seconds.
        steps: Forward passes of the engine in each call.
        updated: End of each iteration.
        trained: Tokens of the rollouts of each iteration.
        buffered_tokens: Held after each iteration's generation.
    """

    def __init__(self) -> None:
        self.engine: list[tuple[float, float]] = []
        self.steps: list[int] = []
        self._passes = 0
        self.updated: list[float] = []
        self.trained: list[list[int]] = []
        self.buffered_tokens: list[int] = []

    def callback(self) -> Any:
        """Return the trainer's callback."""
        from transformers import TrainerCallback

        record = self

        class Callback(TrainerCallback):
            def on_rollouts(self, trainer: Any, rollouts: list[dict[str, Any]]) -> None:
                groups = trainer.rollouts.buffer.groups if trainer.rollouts is not None else []
                held = sum(each.num_tokens for group in groups for each in group.trajectories)
                record.trained.append([each["tokens"] for each in rollouts])
                record.buffered_tokens.append(held)

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step % UPDATES == 0:
                    record.updated.append(time.process_time())

        return Callback()

    def timed(self, generate: Callable[..., Any]) -> Callable[..., Any]:
        """Return TRL's generation with a clock."""

        def single_turn(*args: Any, **kwargs: Any) -> Any:
            begin, passes = time.process_time(), self._passes
            result = generate(*args, **kwargs)
            self.engine.append((begin, time.process_time()))
            self.steps.append(self._passes - passes)
            return result

        return single_turn

    def counted(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Return a forward pass, or a step of an engine, that is counted."""

        @wraps(forward)
        def step(*args: Any, **kwargs: Any) -> Any:
            self._passes += 1
            return forward(*args, **kwargs)

        return step

    def figures(self, first: int) -> Figures:
        """Return the figures from an iteration on."""
        begin, end = self.updated[first - 1], self.updated[-1]
        measured = [place for place, (began, _) in enumerate(self.engine) if began >= begin]
        engine = sum(self.engine[place][1] - self.engine[place][0] for place in measured)
        trained = [tokens for rollouts in self.trained[first:] for tokens in rollouts]
        batches = len(trained) / (GROUPS * ANSWERS)
        # What was trained on, and by how much the buffer has grown.
        tokens = sum(trained) + self.buffered_tokens[-1] - self.buffered_tokens[first - 1]
        return {
            "tokens": tokens / engine,
            "tokens_a_step": tokens / sum(self.steps[place] for place in measured),
            "iterations": 3600 * batches / (end - begin),
            "engine_share": engine / (end - begin),
            "fill": batches / len(self.trained[first:]),
            "mean_tokens": sum(trained) / len(trained),
        }


@contextmanager
def trained(engine: str, lengths: str, mode: str, iterations: int, record: Any, **changes: Any) -> Iterator[Any]:
    """Train on a frozen model, so that lengths stay as they are.

    Args:
        engine: `transformers` or `vllm`.
        lengths: `sampled` or `replayed`.
        mode: One of `MODES`.
        iterations: How many.
        record: A `Record`.
        **changes: Of the trainer's config.
    """
    from accelerate.state import AcceleratorState
    from datasets import Dataset
    from trl import GRPOTrainer

    from k15_plugins import MirrorDescentConfig, MirrorDescentTrainer

    settings: dict[str, Any] = {
        "per_device_train_batch_size": GROUPS * ANSWERS // UPDATES,
        "updates_per_iteration": UPDATES,
        "num_generations": ANSWERS,
        "max_completion_length": LONGEST_TOKENS,
        "max_steps": UPDATES * iterations,
        "learning_rate": 0.0,
        "model_init_kwargs": {"dtype": "float32"},
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "use_cpu": True,
        "seed": 1,
    }
    if engine == "vllm":
        settings |= {
            "use_vllm": True,
            "vllm_mode": "colocate",
            "vllm_max_model_length": LONGEST_TOKENS + 128,
        }
    if mode == "budget":
        settings["rollout_budget_tokens"] = LONGEST_TOKENS // BUDGET
    before = set(os.environ)
    single_turn = record.timed(GRPOTrainer._generate_single_turn)
    with tempfile.TemporaryDirectory() as folder, patch.object(GRPOTrainer, "_generate_single_turn", single_turn):
        follow = successors(lengths)
        tokenizer = chain_model.save_chain_model(folder, follow)
        prompts = chain_model.prompts(follow)
        trainer = MirrorDescentTrainer(
            folder,
            [_even_length],
            MirrorDescentConfig(output_dir=folder, **settings | MODES[mode] | changes),
            train_dataset=Dataset.from_dict({"prompt": prompts * (chain_model.ROOTS // len(prompts))}),
            processing_class=tokenizer,
            callbacks=[record.callback()],
        )
        if engine == "vllm":
            vllm = trainer.vllm_generation.llm.llm_engine
            vllm.step = record.counted(vllm.step)
        else:
            trainer.model.forward = record.counted(trainer.model.forward)
        trainer.train()
    yield trainer
    # An engine in this process tells it about its place among others; the next one is built anew.
    if engine == "vllm":
        del trainer.vllm_generation
    del trainer
    gc.collect()
    AcceleratorState._reset_state(reset_partial_state=True)
    for name in {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} - before:
        os.environ.pop(name, None)


def _even_length(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [float(len(ids) % 2 == 0) for ids in completion_ids]


def measure(engine: str, rounds: int) -> None:
    """Measure all modes with an engine, and print a line for each."""
    for _ in range(rounds):
        for lengths in ("sampled", "replayed"):
            for mode, (first, last) in MEASURED.items():
                record = Record()
                with trained(engine, lengths, mode, last, record):
                    print(json.dumps([lengths, mode, record.figures(first)]), flush=True)


def measure_apart(engine: str, rounds: int) -> Results:
    """Measure all modes with an engine, in a process of its own."""
    command = [sys.executable, __file__, "--only", engine, "--rounds", str(rounds)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    results: Results = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('["'):
                print(engine, line.strip(), flush=True)
                lengths, mode, figures = json.loads(line)
                results.setdefault((engine, lengths, mode), []).append(figures)
    if process.returncode:
        raise RuntimeError(f"{engine} failed.")
    return results


def main() -> None:
    """Measure the engines, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=["transformers", "vllm"], help="print the figures of one engine")
    options = parser.parse_args()
    if options.only:
        measure(options.only, options.rounds)
        return
    engines = ("transformers", "vllm") if find_spec("vllm") else ("transformers",)
    with ThreadPoolExecutor() as pool:  # a core for each
        measured = pool.map(lambda engine: measure_apart(engine, options.rounds), engines)
    results = {arm: figures for arms in measured for arm, figures in arms.items()}
    write_table(results, options.rounds)
    draw(results)


def speedup(results: Results, arm: tuple[str, str, str], key: str) -> list[float]:
    """Return a figure's ratio to that of synchronous rollouts, round by round."""
    base = results[arm[0], arm[1], "synchronous"]
    return [ours[key] / theirs[key] for ours, theirs in zip(results[arm], base, strict=True)]


def write_table(results: Results, rounds: int) -> None:
    """Write the page."""
    import torch
    import transformers

    def mean(arm: tuple[str, str, str], key: str) -> float:
        return float(np.mean([each[key] for each in results[arm]]))

    def ratio(arm: tuple[str, str, str], key: str) -> str:
        values = speedup(results, arm, key)
        spread = f" ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else ""
        return f"{np.mean(values):.2f}{spread}"

    recorded = [length for row in json.loads(DATA.read_text(encoding="utf-8")) for length in row["lengths"]]
    lines = [
        "# Partial against synchronous rollouts",
        "",
        f"The model is a tiny Llama (1 layer, width {chain_model.WIDTH}, float32). Its weights decide how long "
        f"responses are, {LONGEST_TOKENS} tokens at most. `sampled`: lengths are geometric; the mean depends on the "
        f"prompt and is one of {', '.join(map(str, MEANS_TOKENS))}. `replayed`: lengths are {len(recorded)} recorded "
        f"ones of SmolLM2-135M-Instruct (median {np.median(recorded):.0f}, mean {np.mean(recorded):.0f}, "
        f"{np.mean(np.array(recorded) > LONGEST_TOKENS):.0%} cut off), four for each prompt.",
        "",
        f"An iteration is {GROUPS} problems x {ANSWERS} rollouts and {UPDATES} updates with a learning rate of 0, so "
        "that lengths and rewards stay the same in all modes. `budget`: a trajectory gets the longest response "
        f"divided by {BUDGET} in each iteration. `pause`: {2 * GROUPS} problems are in flight, and as soon as half of "
        "the trajectories have ended, the others pause. Tokens a second count the engine's time only, weight sync "
        "included. A step is one forward pass of the engine; here it takes longer with more rows, while on a GPU that "
        "waits for the weights to be read it hardly does. Iterations an hour include the updates; a batch that is "
        f"partly filled counts as that part of an iteration. Times are processor time of one thread; {rounds} "
        f"round{'s' if rounds > 1 else ''}, in which the modes take turns; {platform.machine()}, torch "
        f"{torch.__version__}, transformers {transformers.__version__}. Made by `python "
        "benchmarks/rollout_throughput.py`.",
        "",
        "| engine | lengths | mode | tokens a second | speed-up | tokens a step | speed-up | iterations an hour "
        "| speed-up | engine's share | batch fill | mean tokens trained on |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in results:
        lines.append(
            f"| {arm[0]} | {arm[1]} | {arm[2]} | {mean(arm, 'tokens'):,.0f} | {ratio(arm, 'tokens')} | "
            f"{mean(arm, 'tokens_a_step'):.1f} | {ratio(arm, 'tokens_a_step')} | "
            f"{mean(arm, 'iterations'):,.0f} | {ratio(arm, 'iterations')} | {mean(arm, 'engine_share'):.0%} | "
            f"{mean(arm, 'fill'):.2f} | {mean(arm, 'mean_tokens'):.0f} |"
        )
    lines += ["", "![Speed-up of partial rollouts](rollout_throughput.png)"]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "rollout_throughput.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def draw(results: Results) -> None:
    """Draw the speed-ups."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from k15_plugins.report.curves import COLOURS, STYLE

    cases = list(dict.fromkeys(arm[:2] for arm in results))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(14, 4), layout="constrained")
        titles = {
            "tokens": "tokens a second of the engine",
            "tokens_a_step": "tokens a step of the engine",
            "iterations": "iterations an hour, with their updates",
        }
        for axes, (key, title) in zip(figure.subplots(1, 3, sharey=True), titles.items(), strict=True):
            for place, mode in enumerate(("budget", "pause")):
                values = [float(np.mean(speedup(results, (*case, mode), key))) for case in cases]
                x = np.arange(len(cases)) + 0.38 * (place - 0.5)
                bars = axes.bar(x, values, width=0.36, color=COLOURS[place], label=mode)
                axes.bar_label(bars, fmt="%.1f")
            axes.axhline(1, color="black", linewidth=1)
            axes.set_xticks(range(len(cases)), [f"{engine}\n{lengths}" for engine, lengths in cases])
            axes.set_title(title)
            axes.grid(axis="x", visible=False)
        figure.axes[0].set_ylabel("speed-up over synchronous rollouts")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        figure.savefig(RESULTS / "rollout_throughput.png", dpi=110)


if __name__ == "__main__":
    main()
