"""Models of `families.py`: built by `build.py`, read and exported by the rules of `weights/names.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.model.build import build_chunks, transformer_config
from k15_plugins.megatron.weights.exchange import export_weights, load_weights, parameters_of


class MappedModel:
    """This rank's chunks of a model.

    Args:
        model_config: A `transformers.PretrainedConfig` that has passed `check_family`.
        folder: Of the model, as transformers saves it, or its name on the Hub.
        layout: How it is laid out.
        dtype: Of the weights.
        **settings: Other fields of Megatron's `TransformerConfig`.

    Attributes:
        config: Megatron's config of the model.
        chunks: One, or as many as a stage has in an interleaved pipeline.
    """

    def __init__(
        self, model_config: Any, folder: str | Path, layout: MegatronLayout, dtype: torch.dtype, **settings: Any
    ):
        self.model_config, self.folder = model_config, folder
        self.config = transformer_config(model_config, layout, dtype, **settings)
        self.chunks = build_chunks(model_config, self.config)
        self._parameters = parameters_of(self.chunks, model_config)

    def load_weights(self) -> None:
        """Read this rank's weights from the model's files."""
        load_weights(self._parameters, self.model_config, self.folder)

    def export_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Bring the whole model to rank 0, tensor by tensor, under the names of transformers' checkpoints."""
        return export_weights(self._parameters, self.model_config)
