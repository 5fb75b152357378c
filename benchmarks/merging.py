"""Time and memory of merging two checkpoints of 2 GB, ours and mergekit's: `python benchmarks/merging.py`.

Each merge is a process of its own; the two take turns. Ours runs under a hard limit of 600 MB for all memory that a
process can call its own (RLIMIT_DATA); a merge that needs more fails. Needs Linux. Writes `docs/results/merging.md`.
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

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "docs" / "results" / "merging.md"
ROUNDS = 2
LIMIT_MB = 600
OURS, THEIRS = "merge_checkpoints", "mergekit, linear"
CALLS = {
    OURS: "from k15_plugins.long2short.merge import merge_checkpoints as merge\nmerge(sys.argv[1:3], sys.argv[3])",
    THEIRS: "from k15_plugins.long2short.mergekit_methods import merge_with_mergekit as merge\n"
    "merge(sys.argv[1:3], sys.argv[3], 'linear')",
}
MEASURE = """
import resource, sys, time
sys.path.insert(0, sys.argv[4])
began = time.perf_counter()
{call}
seconds = time.perf_counter() - began
print("RESULT", seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_checkpoint(folder: Path, seed: int) -> float:
    """Write a random Llama of about 2 GB in bfloat16, in shards of 500 MB, and return its size in GB."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(hidden_size=2048, intermediate_size=5632, num_hidden_layers=18, vocab_size=32000)
    model = LlamaForCausalLM(config).bfloat16()
    model.save_pretrained(folder, max_shard_size="500MB")
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e9


def run(arm: str, folders: list[Path], output: Path) -> dict[str, float]:
    """Run one merge and return its seconds, imports included, and its peaks of resident and of own memory in MB."""

    def limit() -> None:
        if arm == OURS:
            resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_MB * 2**20,) * 2)

    command = [sys.executable, "-c", MEASURE.format(call=CALLS[arm]), *map(str, folders), str(output), str(ROOT)]
    own_mb = 0.0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, preexec_fn=limit, stdout=said, stderr=said, env=dict(os.environ))
        while process.poll() is None:
            own_mb = max(own_mb, own_memory_mb(process.pid))
            time.sleep(0.02)
        said.seek(0)
        lines = said.read().splitlines()
    if process.returncode:
        raise RuntimeError("\n".join(lines))
    seconds, peak = next(line for line in lines if line.startswith("RESULT")).split()[1:]
    return {"seconds": float(seconds), "peak_mb": float(peak), "own_mb": own_mb}


def own_memory_mb(pid: int) -> float:
    """Return the memory in use now that is the process's own: without mapped files, which the system can take back."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    # A process that has just ended has no such line.
    return next((int(line.split()[1]) / 1024 for line in status if line.startswith("RssAnon")), 0.0)


def main() -> None:
    """Let the two take turns, and write the table."""
    results: dict[str, list[dict[str, float]]] = {arm: [] for arm in CALLS}
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / name for name in ("one", "two")]
        writer = "import sys; sys.path.insert(0, sys.argv[1]); import merging; from pathlib import Path;"
        sizes = []
        for seed, folder in enumerate(folders):
            code = writer + f"print(merging.write_checkpoint(Path(sys.argv[2]), {seed}))"
            command = [sys.executable, "-c", code, str(Path(__file__).parent), str(folder)]
            sizes.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
        for number in range(ROUNDS):
            for arm in CALLS:
                with tempfile.TemporaryDirectory(dir=temporary) as output:
                    began = time.time()
                    results[arm].append(run(arm, folders, Path(output) / "merged"))
                print(
                    f"round {number + 1}, {arm}: {json.dumps(results[arm][-1])} ({time.time() - began:.0f} s)",
                    flush=True,
                )
    lines = [
        "# Merging two checkpoints",
        "",
        f"Both merge two random Llamas of {sizes[0]:.2f} GB in bfloat16 (shards of 500 MB) into their plain average, "
        f"on the CPU. They take turns; a cell is the median of {ROUNDS} rounds, imports included. Ratios are computed "
        f"within a round; brackets are their range. Ours ran under a hard limit of {LIMIT_MB} MB (RLIMIT_DATA). "
        "Resident memory includes mapped files, such as mergekit's inputs, which the system can free; own memory "
        "(RssAnon, sampled every 20 ms) does not. "
        "Made by `python benchmarks/merging.py`.",
        "",
        "| merge | seconds | ratio | peak resident memory (MB) | ratio | peak own memory (MB) | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, rounds in results.items():
        cells = []
        for key, digits in (("seconds", 1), ("peak_mb", 0), ("own_mb", 0)):
            ratios = [mine[key] / other[key] for mine, other in zip(rounds, results[THEIRS], strict=True)]
            cells.append(f"{statistics.median(each[key] for each in rounds):.{digits}f}")
            cells.append(f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    RESULT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
