"""The Megatron engine against transformers in every layout, and its memory: `python benchmarks/megatron_layouts.py`.

Each layout is a torchrun job, the one of `tests/megatron/test_layouts.py`: the engine and transformers with PyTorch's
AdamW make the same updates on the same rows. Then a larger model is trained in layouts of more and more ranks, and
each rank tells its memory. Takes some minutes on two cores. Writes `docs/results/megatron_layouts.md`.
"""

import json
import platform
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "megatron")]
RESULT = ROOT / "docs" / "results" / "megatron_layouts.md"
LARGE = {
    "vocab_size": 8192,
    "hidden_size": 512,
    "intermediate_size": 1376,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 512,
}
LARGE_ROWS = 16
LARGE_ROW_TOKENS = 256
SIZES: dict[str, dict[str, Any]] = {
    "one rank": {"processes": 1},
    "TP2": {"processes": 2, "tensor_parallel": 2},
    "TP2+SP": {"processes": 2, "tensor_parallel": 2, "sequence_parallel": True},
    "PP2": {"processes": 2, "pipeline_parallel": 2},
    "TP4": {"processes": 4, "tensor_parallel": 4},
    "PP4": {"processes": 4, "pipeline_parallel": 4},
    "TP2xPP2": {"processes": 4, "tensor_parallel": 2, "pipeline_parallel": 2},
}


def compare(**case: Any) -> dict[str, Any]:
    """Run a case of the tests, and return what its job found."""
    from engine_cases import save_model, write_case
    from launch import run_job

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_case(folder, **case)
        save_model(folder / "model", case["family"], case["tied"])
        run_job(case["layout"]["processes"], "job.py", folder, timeout_seconds=900)
        return json.loads((folder / "result.json").read_text())


def measure(folder: Path, layout: dict[str, Any]) -> list[dict[str, float]]:
    """Train the large model in a layout, and return the memory of each rank."""
    from launch import run_job

    (folder / "layout.json").write_text(json.dumps(layout))
    run_job(layout["processes"], __file__, folder, timeout_seconds=900)
    return json.loads((folder / "memory.json").read_text())


def train_large(folder: Path) -> None:
    """Be a rank of a job that makes two updates of the large model, and write the memory of all ranks."""
    from k15_plugins.megatron.job.without_cuda import run_without_cuda

    run_without_cuda()
    import torch
    from torch import distributed

    from k15_plugins.megatron.engine import MegatronEngine
    from k15_plugins.megatron.layout import MegatronLayout
    from k15_plugins.megatron.rows import Rows
    from k15_plugins.megatron.settings import EngineSettings
    from k15_plugins.objective.update_loss import UpdateLoss

    torch.set_num_threads(1)
    layout = MegatronLayout(**json.loads((folder / "layout.json").read_text()))
    engine = MegatronEngine(EngineSettings(layout, max_tokens_per_micro_batch=LARGE_ROW_TOKENS), str(folder / "large"))
    generator = torch.Generator().manual_seed(0)
    ids_NT = torch.randint(LARGE["vocab_size"], (LARGE_ROWS, LARGE_ROW_TOKENS), generator=generator)
    responses_tokens = LARGE_ROW_TOKENS // 2
    columns = {
        "mask": torch.ones(LARGE_ROWS, responses_tokens),
        "advantages": torch.randn(LARGE_ROWS, generator=generator),
        "weight": torch.full((LARGE_ROWS,), 1 / LARGE_ROWS),
    }
    for _ in range(2):
        engine.train_batch(Rows([*ids_NT], [responses_tokens] * LARGE_ROWS, columns), 1.0, UpdateLoss(tau=0.3))
        engine.step(1e-4)
    memory = engine.memory()
    if distributed.get_rank() == 0:
        (folder / "memory.json").write_text(json.dumps(memory))
    distributed.destroy_process_group()


def differences(name: str, case: dict[str, Any], result: dict[str, Any]) -> str:
    """Return a row of the table of differences."""
    updates = result["updates"]
    figures = [
        result["logps"],
        result["entropies"],
        *(max(update[key] for update in updates) for key in ("loss", "grad_norm", "weights")),
        result["after_reset"]["weights"],
    ]
    tied = ", tied" if case["tied"] else ""
    cells = [name, str(case["layout"]["processes"]), case["family"] + tied, *(f"{figure:.1e}" for figure in figures)]
    return f"| {' | '.join(cells)} |"


def memory_row(name: str, ranks: list[dict[str, float]]) -> str:
    """Return a row of the table of memory."""
    weights, peaks = ([rank[key] for rank in ranks] for key in ("weights_mb", "peak_mb"))
    cells = [name, str(len(ranks)), spread(weights), spread(peaks), f"{statistics.mean(peaks):.0f}"]
    return f"| {' | '.join(cells)} |"


def spread(values: list[float]) -> str:
    """Return the smallest and the largest of some values, rounded, or the one that they are."""
    return " to ".join(dict.fromkeys(f"{each:.0f}" for each in (min(values), max(values))))


def main() -> None:
    """Run all jobs, one after another, and write the page."""
    import torch
    from engine_cases import LAYOUTS, model_config
    from transformers import AutoModelForCausalLM

    rows, moved = [], []
    for name, case in LAYOUTS.items():
        result = compare(**case)
        moved.append(result["moved"])
        rows.append(differences(name, case, result))
        print(rows[-1], flush=True)
    half = compare(family="llama", tied=False, layout=SIZES["TP2"], settings={"dtype": "bfloat16"})

    sizes = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(model_config("llama", **LARGE)).float()
        model.save_pretrained(folder / "large")
        weights_mb = sum(each.nbytes for each in model.parameters()) / 1e6
        for name, layout in SIZES.items():
            sizes.append(memory_row(name, measure(folder, layout)))
            print(sizes[-1], flush=True)

    versions = ", ".join(f"{name} {version(name)}" for name in ("megatron-core", "transformers", "torch"))
    lines = [
        "# Megatron layouts against transformers",
        "",
        "This compares the engine with transformers and PyTorch's AdamW (weight decay 0.01, clipping at 0.5, learning "
        "rate 1e-3) in float32. Both get the same ten rows of 2 to 60 tokens, in micro-batches of at most 50 tokens. "
        "A cell is the largest absolute difference (relative for the gradient norm): log-probabilities and entropies "
        "are compared before training; loss, gradient norm and every weight in three updates; the last column is one "
        "more update with a reset optimizer. Weights are exported after each update; three updates move them by up to "
        f"{min(moved):.0e}. Models have 4 layers, hidden size 64, 4 heads (2 key-value heads), 4 experts if any, and "
        "an odd vocabulary of 135.",
        "",
        "| layout | ranks | model | log-probs | entropies | loss | gradient norm | weights | weights, reset |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "TP: tensor parallel; PP: pipeline parallel; EP: expert parallel; SP: sequence parallel; DP: data parallel, "
        "with the optimizer's state split among the replicas.",
        "",
        "In bfloat16 (TP2, llama) log-probabilities of the engine differ from those of transformers in float32 by "
        f"{half['mean_logps']:.1e} nats on average and {half['logps']:.1e} at most; the gradient norm differs by up "
        f"to {max(update['grad_norm'] for update in half['updates']):.1%}.",
        "",
        "## Memory",
        "",
        f"A Llama of 8 layers, hidden 512 and vocabulary 8,192 ({weights_mb:.0f} MB of float32 weights), trained for "
        f"two updates on {LARGE_ROWS} rows of {LARGE_ROW_TOKENS} tokens, with one row in a micro-batch. Where ranks "
        "differ, cells show the smallest and the largest. The peak is the resident memory of the whole process, with "
        "Python, PyTorch and Megatron. Gradients and Adam's moments need three times the memory of the weights.",
        "",
        "| layout | ranks | weights of a rank (MB) | peak of a rank (MB) | mean peak (MB) |",
        "|---|---|---|---|---|",
        *sizes,
        "",
        f"Made by `python benchmarks/megatron_layouts.py` on a {platform.machine()} CPU with {versions}.",
    ]
    RESULT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train_large(Path(sys.argv[1]))
    else:
        main()
