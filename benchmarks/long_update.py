"""Memory and time of an RL update on one long trajectory: `python benchmarks/long_update.py`.

A `MirrorDescentTrainer` trains a tiny Llama on a group of two responses, one long, one of 16 tokens, each length in a
process of its own, with vocabularies of 128 and 32,768 entries. Needs Linux (it reads the peak of resident memory from
/proc). Writes `docs/results/long_update.md` and `.png`; the measured points go to `long_update.json` beside them, for
the test of `k15_plugins.planning.long_context`.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULT = Path(__file__).parents[1] / "docs" / "results" / "long_update.md"
LENGTHS = (16_384, 32_768, 65_536, 131_072)
VOCABULARIES = (128, 32_768)
WARM_UP_TOKENS = 1024
OURS, TRLS, TRLS_TILE = "cut", "as TRL", "cut, TRL's tile"
# What TRL's own path costs, where it can still be run.
TRLS_LENGTHS = (4096, 8192, 16_384)
# TRL computes the head for 4,096 tokens at once. On a GPU that is one tile; without Triton, PyTorch holds some eight
# copies of it: 4 GB with 32,768 entries, which would hide all else.
TILE_TOKENS = 128
MODEL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


def word_tokenizer(entries: int) -> Any:
    """Return a tokenizer of words w3, w4 ...; ids 0, 1 and 2 are padding, end, and unknown."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", *(f"w{number}" for number in range(3, entries))]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def memory_mb(name: str) -> float:
    """Return a figure of this process's memory: VmRSS, what is resident now, or VmHWM, the most so far."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith(f"{name}:"))


def measure(arm: str, vocabulary: int, tokens: int, folder: str) -> dict[str, float]:
    """Train two iterations, one on a short group to have all in place, one on the long one; return what it took."""
    import torch
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback
    from trl import GRPOTrainer
    from trl.kernels import chunked_logprob

    from k15_plugins import MirrorDescentConfig, MirrorDescentTrainer

    tokenizer = word_tokenizer(128)
    before_mb = memory_mb("VmRSS")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            max_position_embeddings=max(LENGTHS) + 64,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=0,
            **MODEL,
        )
    )
    iterations: list[float] = []

    def fixed(prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Give the same group of a long and a short response to each of the two iterations."""
        iterations.append(time.process_time())
        source = random.Random(0)
        long = WARM_UP_TOKENS if len(iterations) == 1 else tokens
        ids = [[source.randrange(3, 128) for _ in range(length)] for length in (long, 16)]
        return {"prompt_ids": [[3, 4, 5, 6]] * 2, "completion_ids": ids, "logprobs": None}

    class Seconds(TrainerCallback):
        def on_train_end(self, *_: Any, **__: Any) -> None:
            iterations.append(time.process_time())

    if arm != TRLS_TILE:
        chunked_logprob.TOKEN_CHUNK_SIZE = TILE_TOKENS
    if arm == TRLS:
        MirrorDescentTrainer._get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies  # type: ignore[method-assign]
    MirrorDescentTrainer(
        model,
        lambda completion_ids, **_: [float(len(ids) > 16) for ids in completion_ids],
        MirrorDescentConfig(
            output_dir=folder,
            per_device_train_batch_size=1,
            num_generations=2,
            updates_per_iteration=2,
            max_completion_length=tokens,
            max_steps=4,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            bf16=False,
            use_cpu=True,
        ),
        train_dataset=Dataset.from_dict({"prompt": ["w3 w4 w5 w6"] * 4}),
        processing_class=tokenizer,
        rollout_func=fixed,
        callbacks=[Seconds()],
    ).train()
    long_from, long_to = iterations[1:]
    raw_mb = memory_mb("VmHWM") - before_mb
    state_mb = 16 * sum(weight.numel() for weight in model.parameters()) / 2**20
    return {"raw_mb": raw_mb, "state_mb": state_mb, "own_mb": raw_mb - state_mb, "seconds": long_to - long_from}


def measured(arm: str, vocabulary: int, tokens: int) -> dict[str, float]:
    """Run `measure` in a process of its own."""
    # Else the allocator keeps what was freed, more of it at some lengths than at others, and the peak shows that.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, arm, str(vocabulary), str(tokens), folder]
        output = subprocess.run(command, capture_output=True, text=True, env=environment)
    if output.returncode:
        raise RuntimeError(output.stderr[-3000:])
    found = json.loads(output.stdout.splitlines()[-1])
    print(arm, vocabulary, tokens, found, flush=True)
    return found


def slopes_bytes(points: list[dict[str, float]]) -> list[float]:
    """Return by how many bytes a token memory grows from each length to the next."""
    tokens, own_mb = (np.array([point[name] for point in points]) for name in ("tokens", "own_mb"))
    return [float(slope) for slope in np.diff(own_mb) * 2**20 / np.diff(tokens)]


def quadratic_share(points: list[dict[str, float]]) -> list[float]:
    """Return which share of each point's seconds grows with the square of its tokens, by a fit of a T + b T^2."""
    tokens = np.array([point["tokens"] for point in points])
    seconds = np.array([point["seconds"] for point in points])
    # Relative errors: the longest run must not drown the others.
    terms = np.stack([tokens, tokens**2.0], axis=1) / seconds[:, None]
    _, square = np.linalg.lstsq(terms, np.ones_like(seconds))[0]
    return [float(share) for share in square * tokens**2.0 / seconds]


def write_page(found: dict[str, list[dict[str, float]]]) -> None:
    """Write the page and the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    small, large = (found[f"{OURS} {vocabulary}"] for vocabulary in VOCABULARIES)
    lines = [
        "# An RL update on one trajectory of up to 131,072 tokens",
        "",
        "`MirrorDescentTrainer` gets a group of one long response and one of 16 tokens. It computes log pi_ref and "
        "makes one update on each, with `per_device_train_batch_size=1`, gradient checkpointing and TRL's fused head "
        f"(both are TRL's defaults). The model is a Llama of {MODEL['num_hidden_layers']} layers, hidden size "
        f"{MODEL['hidden_size']} and one head of {MODEL['head_dim']}, in float32, with PyTorch's own attention. It "
        "runs on one thread of a CPU; seconds are CPU time, because the machine was shared. Each row of the table was "
        "run once, in its own process. "
        "Made by `python benchmarks/long_update.py`.",
        "",
        "*Peak* is how far resident memory grows from the moment before the model is built; it includes libraries "
        "that are loaded later. *Without state* is the peak without weights, gradients and Adam's two moments (16 "
        f"bytes a weight). The head was computed in tiles of {TILE_TOKENS} tokens; [below](#the-heads-tile) "
        "is TRL's own tile.",
        "",
        "| vocabulary | tokens | peak (MB) | weights, gradients, Adam (MB) | without state (MB) | CPU seconds | of "
        "these quadratic |",
        "|---|---|---|---|---|---|---|",
    ]
    for vocabulary, points in zip(VOCABULARIES, (small, large), strict=True):
        for point, share in zip(points, quadratic_share(points), strict=True):
            lines.append(
                f"| {vocabulary:,} | {point['tokens']:,} | {point['raw_mb']:,.0f} | {point['state_mb']:.0f} | "
                f"{point['own_mb']:,.0f} | {point['seconds']:,.0f} | {share:.0%} |"
            )
    slopes = [", ".join(f"{slope:,.0f}" for slope in slopes_bytes(points)) for points in (small, large)]
    above_mb = [large_one["raw_mb"] - small_one["raw_mb"] for small_one, large_one in zip(small, large, strict=True)]
    tile = found[TRLS_TILE][0]
    ours_there = next(point for point in large if point["tokens"] == tile["tokens"])
    last = found[TRLS][-1]
    lines += [
        "",
        f"- From each length to the next, memory grows by {slopes[0]} bytes a token with 128 entries, and by "
        f"{slopes[1]} with 32,768. The first step of the latter is smaller since at the shortest length the peak is "
        "not in a layer but in the head, whose tile has one size at any length.",
        f"- With 32,768 entries the peak is {', '.join(f'{mb:,.0f}' for mb in above_mb)} MB above that with 128, at "
        "the four lengths; weights, gradients and Adam account for up to "
        f"{large[0]['state_mb'] - small[0]['state_mb']:.0f} MB of this. Not all of them are there at the peak (Adam "
        "begins anew in each iteration), so *without state* takes off somewhat too much with the large vocabulary. "
        "Nothing in it grows with entries times tokens: the logits alone would be "
        f"{4 * max(LENGTHS) * max(VOCABULARIES) / 2**30:.0f} GB at {max(LENGTHS):,} tokens.",
        "- A large vocabulary costs time: all of its entries are computed for each token.",
        "- Time does not grow in a straight line: attention compares each token with all before it. The last column "
        "is the share of b T^2 in a fit of a T + b T^2 to the seconds.",
        "",
        "## The head's tile",
        "",
        "TRL computes the head for 4,096 tokens and 32,768 entries at once, whatever the length. On a GPU a kernel "
        "works on this one tile; on a CPU PyTorch holds several copies of it. With 32,768 entries and "
        f"{tile['tokens']:,} tokens the peak without state was {tile['own_mb']:,.0f} MB, against "
        f"{ours_there['own_mb']:,.0f} MB with tiles of {TILE_TOKENS} tokens ({tile['seconds']:.0f} and "
        f"{ours_there['seconds']:.0f} CPU seconds). It is a constant, but on a CPU a large one, and it is what a "
        "user meets: the trainer leaves TRL's constant alone (`trl.kernels.chunked_logprob.TOKEN_CHUNK_SIZE`), this "
        "page has changed it to show what the rest does.",
        "",
        "## Without cutting the rows",
        "",
        "TRL pads each response to the longest of its iteration. The short one then costs as much time as the long "
        "one, and its padding makes attention build a mask of T x T. `MirrorDescentTrainer` cuts rows to their own "
        "tokens where it computes one at a time. With a larger `per_device_train_batch_size` it does not, and "
        "neither does TRL:",
        "",
        "| tokens | without state (MB), cut | as TRL | CPU seconds, cut | as TRL |",
        "|---|---|---|---|---|",
    ]
    for ours, theirs in zip(found[f"{OURS} short"], found[TRLS], strict=True):
        lines.append(
            f"| {ours['tokens']:,} | {ours['own_mb']:,.0f} | {theirs['own_mb']:,.0f} | {ours['seconds']:.1f} | "
            f"{theirs['seconds']:.1f} |"
        )
    lines += [
        "",
        "By the square of the tokens this would be some "
        f"{last['own_mb'] * (max(LENGTHS) / last['tokens']) ** 2 / 1024:,.0f} GB at {max(LENGTHS):,} tokens (not "
        "run).",
        "",
        "![memory and seconds by tokens](long_update.png)",
    ]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n")
    RESULT.with_suffix(".json").write_text(json.dumps({"model": MODEL, "points": found}, indent=1) + "\n")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    for vocabulary, points, style in zip(VOCABULARIES, (small, large), ("o-", "s--"), strict=True):
        tokens_K = [point["tokens"] / 1024 for point in points]
        left.plot(tokens_K, [point["own_mb"] for point in points], style, label=f"{vocabulary:,} entries")
        right.plot(tokens_K, [point["seconds"] for point in points], style, label=f"{vocabulary:,} entries")
    left.plot(
        [point["tokens"] / 1024 for point in found[TRLS]],
        [point["own_mb"] for point in found[TRLS]],
        "x:",
        color="tab:red",
        label="rows not cut (TRL)",
    )
    left.set(xlabel="tokens (x 1024)", ylabel="peak memory without state (MB)", ylim=0)
    right.set(xlabel="tokens (x 1024)", ylabel="CPU seconds", ylim=0)
    left.legend()
    right.legend()
    figure.tight_layout()
    figure.savefig(RESULT.with_suffix(".png"), dpi=110)
    print("\n".join(lines))


def main() -> None:
    """Measure all, the short lengths first, and write the page."""
    series: dict[str, tuple[str, int, tuple[int, ...]]] = {
        TRLS: (TRLS, VOCABULARIES[0], TRLS_LENGTHS),
        f"{OURS} short": (OURS, VOCABULARIES[0], TRLS_LENGTHS),
        TRLS_TILE: (TRLS_TILE, VOCABULARIES[1], LENGTHS[:1]),
        **{f"{OURS} {vocabulary}": (OURS, vocabulary, LENGTHS) for vocabulary in VOCABULARIES},
    }
    found: dict[str, list[dict[str, float]]] = {}
    for name, (arm, vocabulary, lengths) in series.items():
        found[name] = [{"tokens": tokens} | measured(arm, vocabulary, tokens) for tokens in lengths]
    write_page(found)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
    else:
        main()
