"""A rank of a job for `test_checkpoints.py`: saves in one layout, goes on in others, each with a new engine."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from engine_cases import engine_settings, largest_difference, unequal_rows
from job import updated
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed

from k15_plugins.megatron.job.without_cuda import run_without_cuda


def exported(engine: Any) -> dict[str, Tensor]:
    """Return the weights, on rank 0."""
    return {name: tensor.clone() for name, tensor in engine.export_weights()}


def save(engine: Any, folder: Path, is_reset: bool) -> None:
    """Make two updates, maybe reset the optimizer, save, and make a third; write the weights before and after it."""
    rows = unequal_rows()
    updated(engine, rows)
    # A run that went on from further back, or that loses its server, saves in the place of an older checkpoint.
    engine.save(str(folder / "checkpoint"))
    updated(engine, rows)
    if is_reset:
        engine.reset_optimizer()
    engine.save(str(folder / "checkpoint"))
    before = exported(engine)
    _, after = updated(engine, rows)
    if distributed.get_rank() == 0:
        save_file(before, folder / "before.safetensors")
        save_file(after, folder / "after.safetensors")


def resume(engine: Any, folder: Path) -> dict[str, float]:
    """Load, and make the third update; return how far the weights are from those before and after it."""
    engine.load(str(folder / "checkpoint"))
    before = exported(engine)
    _, after = updated(engine, unequal_rows())
    if distributed.get_rank() != 0:
        return {}
    return {
        "loaded": largest_difference(before, load_file(folder / "before.safetensors")),
        "next": largest_difference(after, load_file(folder / "after.safetensors")),
        "moved": largest_difference(after, before),
    }


def main(folder: Path) -> None:
    """Save or resume each of the cases, in turn."""
    run_without_cuda()
    from k15_plugins.megatron.engine import MegatronEngine

    for case in json.loads((folder / "case.json").read_text())["cases"]:
        model = Path(case["model"])
        engine = MegatronEngine(engine_settings(case["layout"]), str(model / "model"))
        if case["save"]:
            save(engine, model, case["reset"])
        else:
            result = resume(engine, model)
            if distributed.get_rank() == 0:
                (folder / f"{case['name']}.json").write_text(json.dumps(result))
        distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
