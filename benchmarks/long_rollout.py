"""A rollout of 131,072 tokens in segments, killed and resumed on the way: `python benchmarks/long_rollout.py`.

A tiny Llama whose weights are set such that most responses end after some 60 tokens and one never ends by itself. The
trainer gives each trajectory at most 8,192 tokens an iteration; the short ones train in every iteration, the long one
waits in the buffer for its next segment. The training runs as a process of its own and is killed (SIGKILL) while it
generates; then it goes on from its last checkpoint. Writes `docs/results/long_rollout.md` and `.png`.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[1] / "docs" / "results" / "long_rollout.md"
TOKENS = 131_072
BUDGET = 8_192
KILL_AFTER = 6  # iterations; the process dies while it generates the next one
EOS, FORK, FIRST_SHORT, FIRST_LONG, ENTRIES = 1, 3, 4, 66, 128
SEED = 1  # of which the first group has one trajectory of each kind


def build_model() -> Any:
    """Return a Llama in which short tokens follow short ones, long follow long, and only short ones are ended.

    One dimension of the residual stream tells the two kinds of tokens apart; the rest is random.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=ENTRIES,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=TOKENS + 64,
            bos_token_id=None,
            eos_token_id=EOS,
            pad_token_id=0,
        )
    )
    kinds = torch.ones(ENTRIES)  # of the tokens that are followed by short ones
    kinds[FORK] = 0
    kinds[FIRST_LONG:] = -1
    with torch.no_grad():
        embeddings, head = model.get_input_embeddings().weight, model.lm_head.weight
        embeddings.normal_(std=0.3)
        embeddings[:, 0] = kinds
        head.normal_(std=0.3)
        head[:, 0] = 8 * kinds
        head[[0, 2, FORK]] = 0.0  # 17 nats below the tokens of either kind
    return model


def halves(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Half a reward for an odd first token, half for an end."""
    return [0.5 * (ids[0] % 2) + 0.5 * (ids[-1] == EOS) for ids in completion_ids]


def train(folder: Path, tokens: int, budget: int) -> None:
    """Train in this process, from the last checkpoint if there is one; tell of each iteration in a file."""
    import numpy as np
    from datasets import Dataset
    from long_update import word_tokenizer
    from transformers import TrainerCallback

    from k15_plugins import MirrorDescentConfig, MirrorDescentTrainer, UniformSampler
    from k15_plugins.trainers.checkpoint import latest_checkpoint

    size, groups = 128, 2
    first = int(UniformSampler(size, seed=SEED).draw(groups)[0])
    prompts = [f"w{FIRST_SHORT + place % 60} w{FORK if place == first else FIRST_SHORT}" for place in range(size)]

    class Progress(TrainerCallback):
        began = time.perf_counter()

        def on_rollouts(self, trainer: Any, rollouts: list[dict[str, Any]]) -> None:
            buffer = trainer.rollouts.buffer
            self.generated = time.perf_counter()
            self.line = {
                "iteration": trainer.iteration,
                "held_tokens": int(buffer.metrics()["buffered_tokens"]),
                "held_bytes": buffer.nbytes,
                "taken": [[each["tokens"], each["segments"], each["stop"], each["advantage"]] for each in rollouts],
                "generation_seconds": self.generated - self.began,
            }
            for each in trainer._taken_trajectories():
                if each.num_tokens == tokens:
                    np.savez(folder / "taken.npz", ids=each.ids_T, logps=each.logps_T)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % 2 == 0:
                now = time.perf_counter()
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                self.line |= {"update_seconds": now - self.generated, "peak_mb": peak}
                with open(folder / "progress.jsonl", "a") as file:
                    file.write(json.dumps(self.line) + "\n")
                print(json.dumps(self.line), flush=True)
                self.began = now

    progress = Progress()
    trainer = MirrorDescentTrainer(
        build_model(),
        halves,
        MirrorDescentConfig(
            output_dir=str(folder),
            per_device_train_batch_size=1,
            gradient_accumulation_steps=2,
            updates_per_iteration=2,
            num_generations=2,
            max_completion_length=tokens,
            rollout_budget_tokens=budget,
            learning_rate=1e-5,
            max_steps=2 * (tokens // budget),
            save_steps=2,
            save_total_limit=2,
            logging_steps=2,
            report_to="none",
            disable_tqdm=True,
            bf16=False,
            use_cpu=True,
            seed=SEED,
        ),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=word_tokenizer(ENTRIES),
        sampler=UniformSampler(size, seed=SEED),
        callbacks=[progress],
    )
    checkpoint = latest_checkpoint(folder)
    progress.began = time.perf_counter()
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))


def start(folder: Path, tokens: int, budget: int) -> subprocess.Popen:
    """Start the training as a process of its own."""
    command = [sys.executable, __file__, str(folder), str(tokens), str(budget)]
    with open(folder / "log.txt", "a") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))


def progress_of(folder: Path) -> list[dict[str, Any]]:
    """Return what the training has told of its iterations."""
    path = folder / "progress.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def held_in(checkpoint: Path) -> tuple[Any, Any, int]:
    """Return token ids and log-probabilities of the longest trajectory in a checkpoint, and the bytes of its file."""
    import torch

    path = checkpoint / "k15_state_0.pt"
    state = torch.load(path, map_location="cpu", weights_only=False)["partial_rollouts"]["buffer"]
    lengths = [sum(tokens for _, tokens in segments) for segments in state["segments"]]
    place = max(range(len(lengths)), key=lengths.__getitem__)
    span = slice(sum(lengths[:place]), sum(lengths[: place + 1]))
    return state["ids"][span], state["logps"][span], path.stat().st_size


def run(folder: Path, tokens: int, budget: int, kill_after: int) -> dict[str, Any]:
    """Run, kill, look into the checkpoint, resume; return what was found."""
    import numpy as np

    from k15_plugins.trainers.checkpoint import latest_checkpoint

    process = start(folder, tokens, budget)
    while len(progress_of(folder)) < kill_after or latest_checkpoint(folder) is None:
        if process.poll() is not None:
            raise RuntimeError((folder / "log.txt").read_text()[-3000:])
        time.sleep(0.5)
    # In the middle of the generation of a segment.
    time.sleep(0.5 * progress_of(folder)[-1]["generation_seconds"])
    process.send_signal(signal.SIGKILL)
    killed = process.wait()
    before = len(progress_of(folder))
    checkpoint = latest_checkpoint(folder)
    assert checkpoint is not None
    ids, logps, file_bytes = held_in(checkpoint)
    process = start(folder, tokens, budget)
    if process.wait() != 0:
        raise RuntimeError((folder / "log.txt").read_text()[-3000:])
    found = {"killed": killed, "checkpoint": checkpoint.name, "iterations_before": before}
    if not (folder / "taken.npz").exists():
        raise RuntimeError("no trajectory reached the limit: take another SEED.")
    taken = np.load(folder / "taken.npz")
    is_prefix = (taken["ids"][: len(ids)] == ids).all() and (
        taken["logps"][: len(ids)].view(np.int32) == logps.view(np.int32)
    ).all()
    return {
        **found,
        "checkpoint_tokens": len(ids),
        "checkpoint_file_bytes": file_bytes,
        "is_prefix": bool(is_prefix),
        "final_tokens": len(taken["ids"]),
        "progress": progress_of(folder),
    }


def write_page(found: dict[str, Any], tokens: int, budget: int) -> None:
    """Write the page and the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    progress = found["progress"]
    long_row = next(row for line in progress for row in line["taken"] if row[0] == tokens)
    _, segments, stop, advantage = long_row
    per_token = max(line["held_bytes"] / max(1, line["held_tokens"]) for line in progress)
    in_file = found["checkpoint_file_bytes"] / found["checkpoint_tokens"]
    last = progress[-1]
    same = "bit by bit" if found["is_prefix"] else "NOT"
    lines = [
        f"# A rollout of {tokens:,} tokens over many iterations",
        "",
        f"One trajectory gets {budget:,} tokens in each iteration. Beside it, short ones end after about 60 tokens, "
        "so that every iteration trains. The model is a Llama with one layer, hidden size 8 and a vocabulary of 128; "
        "its weights make sure that the long trajectory never ends by itself. transformers generates, in float32, on "
        "one thread of a CPU. This shows that the code works at this length, not that a model learns from it. Made by "
        "`python benchmarks/long_rollout.py`, run once.",
        "",
        f"- The process was killed (exit status {found['killed']}, SIGKILL) while it generated the segment of "
        f"iteration {found['iterations_before']}. Another one went on from its {found['checkpoint']}.",
        f"- That checkpoint held {found['checkpoint_tokens']:,} tokens of the trajectory. Token ids and "
        f"log-probabilities are {same} the first {found['checkpoint_tokens']:,} of those that were trained on.",
        f"- The final trajectory has {found['final_tokens']:,} tokens in {len(segments)} segments, the longest of "
        f"{max(length for _, length in segments):,}, written by the policies of iterations {segments[0][0]} to "
        f"{segments[-1][0]}. It ended by `{stop}`, and was trained on whole with an advantage of {advantage:+.2f}.",
        f"- Held in memory: {per_token:.1f} bytes a token. The state file of the checkpoint had {in_file:.1f} bytes "
        "for each token of the trajectory, all else in it included.",
        f"- The updates of the last iteration, one of them on all {tokens:,} tokens, took "
        f"{last['update_seconds']:.0f} s. The process's peak memory was {last['peak_mb']:,.0f} MB, of which "
        f"{progress[0]['peak_mb']:,.0f} MB were reached in the first iteration.",
        "",
        "| iteration | tokens of the trajectory | generation, then log pi_ref (s) | updates (s) | trained responses "
        "(tokens) |",
        "|---|---|---|---|---|",
    ]
    for line in progress:
        done = sum(length for written, length in segments if written <= line["iteration"])
        rows = ", ".join(f"{row[0]:,}" for row in line["taken"])
        seconds = f"{line['generation_seconds']:.0f} | {line['update_seconds']:.1f}"
        lines.append(f"| {line['iteration']} | {done:,} | {seconds} | {rows} |")
    lines += [
        "",
        "Seconds are wall time. At times other work took most of the machine's two cores, so do not compare "
        "iterations with each other. At the start of each segment the engine reads the tokens so far again (prefill), "
        "because the weights have changed.",
        "",
        "![tokens and seconds by iteration](long_rollout.png)",
    ]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    places = [line["iteration"] for line in progress]
    done_K = [sum(n for written, n in segments if written <= place) / 1024 for place in places]
    left.bar(places, done_K, color="tab:blue")
    left.axvline(found["iterations_before"] - 0.5, color="tab:red", linestyle="--", label="killed and resumed")
    left.set(xlabel="iteration", ylabel="tokens of the trajectory (x 1024)")
    left.legend()
    right.bar(places, [line["generation_seconds"] for line in progress], label="generation, log pi_ref")
    bottoms = [line["generation_seconds"] for line in progress]
    right.bar(places, [line["update_seconds"] for line in progress], bottom=bottoms, label="updates")
    right.set(xlabel="iteration", ylabel="seconds")
    right.legend()
    figure.tight_layout()
    figure.savefig(RESULT.with_suffix(".png"), dpi=110)
    print("\n".join(lines))


def main() -> None:
    """Run it and write the page."""
    with tempfile.TemporaryDirectory() as temporary:
        found = run(Path(temporary), TOKENS, BUDGET, KILL_AFTER)
    write_page(found, TOKENS, BUDGET)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        train(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
