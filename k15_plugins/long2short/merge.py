"""Model merging: the weighted average of the weights of several models (paper 2.4), piece by piece from disk to disk.

A piece of a tensor is all that is in memory, whatever the size of the model. Nothing but numpy is imported, because
torch alone would take more memory than the merge.
"""

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from k15_plugins.files.whole import whole_folder
from k15_plugins.long2short.merge_checks import check_configs, check_tokenizers

_PIECE = 2**21  # elements
_KEPT = (
    "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*",
    "merges.txt", "*.model", "chat_template*", "*processor_config.json", "*.py",
)  # fmt: skip
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_OUTPUT = "lm_head.weight"
_INPUTS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight")


class Tensor(NamedTuple):
    """Where a tensor lies: its file, first byte and bytes there, its type in safetensors' words, its shape."""

    file: Path
    start: int
    size: int
    dtype: str
    shape: tuple[int, ...]


def merge_checkpoints(
    checkpoints: Sequence[str | Path], output_dir: str | Path, weights: Sequence[float] | None = None
) -> Path:
    """Average the weights of models of one architecture (paper 2.4; there of two, with equal weights).

    The result has the first model's types, shards, config and tokenizer; sums are taken in float32 (float64 for
    float64). Adapters of LoRA are merged by `merge_adapters`. It is written aside and renamed when it is complete: a
    kill leaves no half model.

    Args:
        checkpoints: Folders of models in transformers' form with safetensors, two or more.
        output_dir: Folder of the result; must be new or empty.
        weights: Weight of each model; they sum to 1. Equal by default. A negative one
            goes beyond the other models, away from this one.

    Returns:
        `output_dir`.

    Raises:
        ValueError: If models, weights or the output folder do not fit; it names the first difference.
    """
    if isinstance(checkpoints, str | Path):
        raise ValueError(f"checkpoints must be a list of folders, got {str(checkpoints)!r}; give two or more of them.")
    folders = [Path(checkpoint) for checkpoint in checkpoints]
    output = Path(output_dir)
    weights = check_request(folders, output, weights)
    are_adapters = [(folder / "adapter_config.json").exists() for folder in folders]
    if any(are_adapters):
        from k15_plugins.long2short.merge_adapters import merge_adapters

        if not all(are_adapters):
            one, other = folders[are_adapters.index(True)], folders[are_adapters.index(False)]
            raise ValueError(f"{one} is an adapter and {other} a whole model; merge the adapter into its model first.")
        return merge_adapters(folders, output, weights)
    config = check_configs(folders)
    check_tokenizers(folders)
    may_tie = config.get("tie_word_embeddings") is not False
    sources = _align([read_layout(folder) for folder in folders], folders, may_tie)
    with whole_folder(output) as half:
        # Beside an unsharded model an index is left over from an earlier one.
        for pattern in _KEPT if (folders[0] / _WHOLE).is_file() else (*_KEPT, _INDEX):
            for file in filter(Path.is_file, folders[0].glob(pattern)):
                shutil.copy2(file, half / file.name)
        total = sum(tensors[0].size for tensors in sources.values())
        with tqdm(total=total, unit="B", unit_scale=True, desc="merging", disable=None) as bar:
            for shard in sorted({tensors[0].file for tensors in sources.values()}):
                own = [(name, tensors) for name, tensors in sources.items() if tensors[0].file == shard]
                _write_shard(shard, half / shard.name, own, weights, bar)
    return output


def check_request(
    folders: Sequence[Path], output: Path, weights: Sequence[float] | None, sum_to_1: bool = True
) -> list[float]:
    """Check what needs no look into the models, and return the weights.

    Args:
        folders: Folders of models.
        output: Folder of the result.
        weights: Weight of each model.
        sum_to_1: Whether the weights are those of an average.

    Raises:
        ValueError: If a number is out of its range, a folder is missing, or `output` is not empty.
    """
    if len(folders) < 2:
        raise ValueError(f"checkpoints must have two or more models, got {len(folders)}; add one.")
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(
                f"checkpoints must be folders of models, got {folder}, which does not exist; correct the path."
            )
    weights = [1 / len(folders)] * len(folders) if weights is None else list(weights)
    if not all(isinstance(weight, Real) for weight in weights):
        raise ValueError(f"weights must be finite numbers, got {weights}; set one for each model.")
    if len(weights) != len(folders):
        raise ValueError(
            f"weights must have a number for each of the {len(folders)} checkpoints, got {len(weights)}; set one each."
        )
    if not all(math.isfinite(weight) for weight in weights):
        raise ValueError(f"weights must be finite numbers, got {weights}; set one for each model.")
    if sum_to_1 and not abs(sum(weights) - 1) <= 1e-6:
        raise ValueError(f"weights must sum to 1, got {sum(weights):g}; divide them by it.")
    if output.exists() and not output.is_dir():
        raise ValueError(f"output_dir must be a folder, got the file {output}; set a new folder.")
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"output_dir must be empty, got {output}, which is not; set a new folder.")
    return weights


def read_layout(folder: Path) -> dict[str, Tensor]:
    """Read which tensors a model has and where they lie.

    Args:
        folder: Folder of a model, with one safetensors file or with shards and their index.

    Raises:
        ValueError: If there are no such files, or one holds a type that cannot be averaged.
    """
    names = [_WHOLE]
    # As in transformers, an unsharded file goes before an index.
    if not (folder / _WHOLE).is_file() and (folder / _INDEX).is_file():
        names = sorted(set(json.loads((folder / _INDEX).read_text())["weight_map"].values()))
    layout: dict[str, Tensor] = {}
    for name in names:
        file = folder / name
        if not file.is_file():
            raise ValueError(f"{folder} has no {name}; give the folder of a model with safetensors.")
        header, start = _read_header(file)
        for tensor, entry in header.items():
            if tensor != "__metadata__":
                if entry["dtype"].startswith("F8"):
                    raise ValueError(
                        f"{file}: {tensor} has the type {entry['dtype']}; convert the model to BF16 first."
                    )
                first, end = entry["data_offsets"]
                layout[tensor] = Tensor(file, start + first, end - first, entry["dtype"], tuple(entry["shape"]))
    return layout


def _read_header(file: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file and the place of the first byte after it."""
    with file.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        return json.loads(content.read(length)), 8 + length


def _align(layouts: list[dict[str, Tensor]], folders: list[Path], may_tie: bool) -> dict[str, list[Tensor]]:
    """Give each tensor of the first model its counterparts in the others."""
    first = layouts[0]
    tied = may_tie and _is_tied(first)
    sources: dict[str, list[Tensor]] = {name: [tensor] for name, tensor in first.items()}
    for layout, folder in zip(layouts[1:], folders[1:], strict=True):
        # The result would be tied again when it is loaded, and the average of the output layers lost.
        if tied and not _is_tied(layout):
            raise ValueError(
                f"{folder} has an output layer of its own ({_OUTPUT}), and that of {folders[0]} is tied to its "
                f"embedding; name {folder} first."
            )
        for name in sources:
            # A tied output layer may be stored or not; where it is not, it is the embedding.
            found = layout.get(name) or (_embedding(layout) if name.endswith(_OUTPUT) else None)
            if found is None:
                raise ValueError(f"{folder} has no tensor {name}, which {folders[0]} has; merge models of one kind.")
            if found.shape != first[name].shape:
                raise ValueError(
                    f"{name} has the shape {list(found.shape)} in {folder} and {list(first[name].shape)} in "
                    f"{folders[0]}; merge models of one kind."
                )
            if found.dtype != first[name].dtype and not {found.dtype, first[name].dtype} <= _WIDTHS.keys():
                raise ValueError(
                    f"{name} has the type {found.dtype} in {folder} and {first[name].dtype} in {folders[0]}; merge "
                    "models of one kind."
                )
            sources[name].append(found)
        for name in sorted(layout.keys() - first.keys()):
            if not (tied and name.endswith(_OUTPUT)):
                raise ValueError(f"{folder} has the tensor {name}, unlike {folders[0]}; merge models of one kind.")
    return sources


def _is_tied(layout: dict[str, Tensor]) -> bool:
    """Tell whether the output layer is the embedding: not stored, or stored once more."""
    embedding = _embedding(layout)
    outputs = [tensor for name, tensor in layout.items() if name.endswith(_OUTPUT)]
    return all(embedding is not None and _equal(output, embedding) for output in outputs)


def _embedding(layout: dict[str, Tensor]) -> Tensor | None:
    return next((tensor for name, tensor in layout.items() if name.endswith(_INPUTS)), None)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and all(
        np.array_equal(a, b) for a, b in zip(_pieces(one), _pieces(other), strict=True)
    )


def _write_shard(
    shard: Path, output: Path, tensors: list[tuple[str, list[Tensor]]], weights: list[float], bar: Any
) -> None:
    _, start = _read_header(shard)
    with shard.open("rb") as before, output.open("wb") as after:
        # The same tensors, types and places: the header is the first model's own.
        after.write(before.read(start))
        for name, sources in sorted(tensors, key=lambda item: item[1][0].start):
            after.seek(sources[0].start)
            if sources[0].dtype in _WIDTHS:
                for pieces in zip(*map(_pieces, sources), strict=True):
                    total = np.zeros_like(pieces[0])
                    for weight, piece in zip(weights, pieces, strict=True):
                        total += total.dtype.type(weight) * piece.astype(total.dtype)
                    after.write(_encode(total, sources[0].dtype))
                    bar.update(total.size * _WIDTHS[sources[0].dtype])
            else:
                _copy_equal(name, sources, after)


def _copy_equal(name: str, sources: list[Tensor], after: Any) -> None:
    """Numbers that are no weights, such as counters and masks, have no average."""
    contents = []
    for source in sources:
        with source.file.open("rb") as file:
            file.seek(source.start)
            contents.append(file.read(source.size))
    if any(content != contents[0] for content in contents):
        raise ValueError(
            f"{name} must be equal in all models, for {sources[0].dtype} have no average, and differs; merge models "
            "of one kind."
        )
    after.write(contents[0])


def _pieces(tensor: Tensor) -> Iterator[np.ndarray]:
    """Yield a tensor piece by piece, in float32, or float64 if it is that."""
    width, left = _WIDTHS[tensor.dtype], math.prod(tensor.shape)
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        while left:
            number = min(left, _PIECE)
            yield _decode(file.read(number * width), tensor.dtype)
            left -= number


def _decode(content: bytes, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    values = np.frombuffer(content, {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype])
    return values.astype(np.float32) if dtype == "F16" else values


def _encode(values: np.ndarray, dtype: str) -> bytes:
    if dtype == "BF16":
        bits = values.view(np.uint32)
        # Round to the nearest, to even in the middle; what is not a number stays so.
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return np.where(np.isnan(values), (bits >> 16) | 0x40, rounded).astype("<u2").tobytes()
    return values.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
