"""A rank of a job for `test_layouts.py`: the engine in one layout beside transformers, through several updates."""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from bridge_import import import_bridge
from engine_cases import (
    LEARNING_RATE,
    LOSS,
    MAX_NORM,
    TEMPERATURE,
    Reference,
    engine_settings,
    largest_difference,
    unequal_rows,
)
from torch import Tensor, distributed

from k15_plugins.megatron.job.without_cuda import run_without_cuda
from k15_plugins.megatron.rows import Rows, as_columns

UPDATES = 3


def updated(engine: Any, rows: Rows) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Make an update, and return its figures and the weights right after it, on rank 0."""
    figures = engine.train_batch(rows, TEMPERATURE, LOSS)
    norm = engine.clip_grad_norm(MAX_NORM)
    engine.step(LEARNING_RATE)
    weights = {name: tensor.clone() for name, tensor in engine.export_weights()}
    return {"loss": figures["loss"].sum().item(), "grad_norm": norm}, weights


def against_reference(engine: Any, rows: Rows, reference: Reference | None) -> dict[str, float]:
    """Make an update with both, and return how far they differ."""
    figures, weights = updated(engine, rows)
    if reference is None:
        return {}
    loss, norm = reference.update(rows)
    return {
        "finite": all(tensor.isfinite().all().item() for tensor in weights.values()),
        "value": figures["loss"],
        "loss": abs(figures["loss"] - loss),
        "grad_norm": abs(figures["grad_norm"] - norm) / norm,
        "clips": norm > MAX_NORM,
        "weights": largest_difference(weights, reference.tensors()),
    }


def main(folder: Path) -> None:
    """Write what differs to `result.json`, and the model at the end as the engine and as transformers save it."""
    run_without_cuda()
    from k15_plugins.megatron.engine import MegatronEngine

    case = json.loads((folder / "case.json").read_text())
    if case.get("settings", {}).get("bridge"):
        import_bridge()
    engine = MegatronEngine(engine_settings(case["layout"], **case.get("settings", {})), str(folder / "model"))
    reference = Reference(folder / "model") if distributed.get_rank() == 0 else None
    start = reference.tensors() if reference else {}
    rows = unequal_rows()

    ours = [as_columns(each, rows.columns["mask"].shape[1]) for each in engine.logps(rows, TEMPERATURE)]
    result: dict[str, Any] = {}
    if reference is not None:
        with torch.no_grad():
            gaps = [(mine - theirs).abs() for mine, theirs in zip(ours, reference.logps(rows), strict=True)]
        result = {
            "logps": gaps[0].max().item(),
            "entropies": gaps[1].max().item(),
            "mean_logps": gaps[0].mean().item(),
        }
    result["updates"] = [against_reference(engine, rows, reference) for _ in range(UPDATES)]
    if reference is not None:
        result["moved"] = largest_difference(reference.tensors(), start)
        reference.model.save_pretrained(folder / "reference")
        (folder / "exported").mkdir()
    distributed.barrier()
    engine.save_model(str(folder / "exported"), max_shard_bytes=50_000)

    engine.reset_optimizer()
    if reference is not None:
        reference.reset_optimizer()
    result["after_reset"] = against_reference(engine, rows, reference)
    result["memory"] = engine.memory()
    result["sent_bytes"], result["weight_bytes"] = 0, 0
    for item in engine.export_weights():
        result["sent_bytes"] += len(pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL))
        result["weight_bytes"] += item[1].nbytes
    if distributed.get_rank() == 0:
        (folder / "result.json").write_text(json.dumps(result))
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
