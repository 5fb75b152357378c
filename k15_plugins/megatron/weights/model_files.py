"""A stream of tensors into the files that transformers and vLLM load."""

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def write_tensors(folder: str | Path, tensors: Iterable[tuple[str, Tensor]], max_shard_bytes: int) -> None:
    """Write `model-00001.safetensors` and so on, and their index; never more than one file is held in memory.

    Args:
        folder: Is there already; files of the same names are replaced.
        tensors: Names and tensors.
        max_shard_bytes: Of a file; a larger tensor has one of its own.
    """
    places: dict[str, str] = {}
    held: dict[str, Tensor] = {}
    held_bytes = total_bytes = files = 0

    def write() -> None:
        nonlocal held, held_bytes, files
        files += 1
        name = f"model-{files:05d}.safetensors"
        save_file(held, Path(folder) / name, metadata={"format": "pt"})
        places.update(dict.fromkeys(held, name))
        held, held_bytes = {}, 0

    for name, tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if held and held_bytes + size > max_shard_bytes:
            write()
        # A view of a larger tensor would be refused.
        held[name] = tensor.cpu().clone().contiguous()
        held_bytes += size
        total_bytes += size
    write()
    index = {"metadata": {"total_size": total_bytes}, "weight_map": places}
    (Path(folder) / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
