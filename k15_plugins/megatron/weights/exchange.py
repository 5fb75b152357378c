"""Weights between a transformers checkpoint and the ranks of a Megatron job, one tensor at a time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from megatron.core import parallel_state
from safetensors import safe_open
from torch import Tensor, distributed

from k15_plugins.megatron.model.build import padded_vocab_size
from k15_plugins.megatron.model.families import head_size
from k15_plugins.megatron.weights.names import Rule, part_of_rank, rule_of, whole_tensors


class Parameter(NamedTuple):
    """A parameter of this rank.

    Attributes:
        weight: The parameter itself.
        rule: How it is made.
        is_expert: Whether it belongs to an expert, which tensor parallelism does not split.
    """

    weight: torch.nn.Parameter
    rule: Rule
    is_expert: bool

    @property
    def ranks(self) -> int:
        """Ranks of tensor parallelism that share it."""
        return 1 if self.is_expert else parallel_state.get_tensor_model_parallel_world_size()

    @property
    def is_first_replica(self) -> bool:
        """Whether no rank before this one holds the same."""
        if self.is_expert:
            return parallel_state.get_expert_data_parallel_rank() == 0
        return parallel_state.get_data_parallel_rank() == 0


class _Source(NamedTuple):
    """Where tensors of the whole model come from: a rank, and the place of a parameter on it."""

    rank: int
    place: int
    rule: Rule


def parameters_of(chunks: list[Any], model_config: Any) -> list[Parameter]:
    """Return the parameters of this rank with their rules.

    Args:
        chunks: The rank's `GPTModel`s.
        model_config: A `transformers.PretrainedConfig`.
    """
    found = []
    for chunk in chunks:
        experts = (chunk.config.num_moe_experts or 0) // chunk.config.expert_model_parallel_size
        first_expert = parallel_state.get_expert_model_parallel_rank() * experts
        for name, weight in chunk.named_parameters():
            layer = None
            if name.startswith("decoder.layers."):
                layer = chunk.decoder.layers[int(name.split(".")[2])].layer_number - 1
            rule = rule_of(name, layer, first_expert, model_config.tie_word_embeddings)
            found.append(Parameter(weight, rule, ".experts." in name))
    return found


@torch.no_grad()
def load_weights(parameters: list[Parameter], model_config: Any, folder: str | Path) -> None:
    """Read this rank's weights from a model as transformers saves it.

    Args:
        parameters: Of this rank.
        model_config: A `transformers.PretrainedConfig`.
        folder: With `model.safetensors`, or several files and their index; or the name of a model on the Hub.

    Raises:
        ValueError: If a tensor is missing or of another shape.
    """
    tensors = _Checkpoint(_files_of(folder))
    rank = parallel_state.get_tensor_model_parallel_rank()
    for parameter in parameters:
        weight, rule, ranks = parameter.weight, parameter.rule, parameter.ranks
        rows = padded_vocab_size(model_config, ranks) if rule.split == "rows" else None
        part = part_of_rank(
            [tensors[name] for name in rule.names],
            rule.split,
            rank if ranks > 1 else 0,
            ranks,
            model_config.num_key_value_heads,
            rows,
        )
        if part.shape != weight.shape:
            raise ValueError(
                f"{folder}: {rule.names[0]} does not fit the model's config; Megatron's part of it has the shape "
                f"{tuple(weight.shape)}, and the file gives {tuple(part.shape)}; give the folder of "
                "one model."
            )
        weight.copy_(part)


def _files_of(model: str | Path) -> Path:
    """Return a folder as it is, and that of a name on the Hub."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(model), allow_patterns=["*.safetensors", "*.safetensors.index.json"]))


class _Checkpoint:
    """The tensors of a folder by their names, read when they are asked for."""

    def __init__(self, folder: Path):
        self.folder = folder
        index = folder / "model.safetensors.index.json"
        names = json.loads(index.read_text())["weight_map"].values() if index.exists() else ["model.safetensors"]
        self.files = [safe_open(folder / name, framework="pt") for name in sorted(set(names))]
        self.place = {key: file for file in self.files for key in file.keys()}  # noqa: SIM118  # no mapping

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.place:
            raise ValueError(f"{self.folder} has no tensor {name}; give the folder of a whole model.")
        return self.place[name].get_tensor(name)


@torch.no_grad()
def export_weights(parameters: list[Parameter], model_config: Any) -> Iterator[tuple[str, Tensor]]:
    """Bring the whole model to rank 0, tensor by tensor, under the names of transformers' checkpoints.

    All ranks have to call it and to exhaust it; only rank 0 is given anything.

    Args:
        parameters: Of this rank.
        model_config: A `transformers.PretrainedConfig`.
    """
    me = distributed.get_rank()
    for source in _sources(parameters, model_config):
        tensors: list[Tensor] = []
        holds = source.place < len(parameters) and parameters[source.place].rule == source.rule
        if holds and parameters[source.place].is_first_replica:
            tensors = _gathered(parameters[source.place], model_config)
        if source.rank != 0 and me in (0, source.rank):
            tensors = _sent(tensors, source.rank, parameters[0].weight)
        if me == 0:
            yield from zip(source.rule.names, tensors, strict=True)


def _sources(parameters: list[Parameter], model_config: Any) -> list[_Source]:
    """Return where each tensor of the whole model comes from, the same on all ranks."""
    leads = parallel_state.get_tensor_model_parallel_rank() == 0
    mine = [
        _Source(distributed.get_rank(), place, each.rule)
        for place, each in enumerate(parameters)
        if each.is_first_replica and (leads or each.is_expert)
    ]
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, mine)
    # The last stage of a pipeline has a copy of a tied embedding.
    first = {source.rule.names: source for sources in reversed(gathered) for source in reversed(sources)}
    return sorted(first.values(), key=lambda source: (source.rank, source.place))


def _gathered(parameter: Parameter, model_config: Any) -> list[Tensor]:
    weight, rule = parameter.weight, parameter.rule
    parts = [weight.data]
    if parameter.ranks > 1 and rule.split != "whole":
        parts = [torch.empty_like(weight) for _ in range(parameter.ranks)]
        group = parallel_state.get_tensor_model_parallel_group()
        distributed.all_gather(parts, weight.data.contiguous(), group=group)
    rows = model_config.vocab_size if rule.split == "rows" else None
    return whole_tensors(parts, rule.split, model_config.num_key_value_heads, head_size(model_config), rows)


def _sent(tensors: list[Tensor], source: int, like: Tensor) -> list[Tensor]:
    """Send tensors to rank 0, or receive them there."""
    if distributed.get_rank() == source:
        distributed.send_object_list([[each.shape for each in tensors]], dst=0)
        for each in tensors:
            distributed.send(each.contiguous(), dst=0)
        return tensors
    shapes: list[Any] = [None]
    distributed.recv_object_list(shapes, src=source)
    received = [like.new_empty(shape) for shape in shapes[0]]
    for each in received:
        distributed.recv(each, src=source)
    return received
