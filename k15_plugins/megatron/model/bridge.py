"""Models beyond those of `families.py`, converted by NVIDIA's Megatron-Bridge."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.process_groups_config import ProcessGroupCollection
from torch import Tensor, distributed

from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.model.build import (
    has_transformer_engine,
    layer_spec,
    layout_settings,
    spare_padding,
    with_settings,
)


class BridgedModel:
    """This rank's chunks of a model that Megatron-Bridge builds, loads and exports.

    Takes and has what `MappedModel` does; the config has passed `check_bridged`.
    """

    def __init__(
        self, model_config: Any, folder: str | Path, layout: MegatronLayout, dtype: torch.dtype, **settings: Any
    ):
        from megatron.bridge import AutoBridge

        self._bridge = AutoBridge.from_hf_pretrained(str(folder))
        # The base of rotary embeddings under the name that it had before transformers 5, where 0.3 looks for it.
        self._bridge.hf_pretrained.config.rope_theta = model_config.rope_parameters["rope_theta"]
        self.config = self._bridge.to_megatron_provider(load_weights=False)
        ours = layout_settings(layout, dtype) | {
            "fp16": False,
            # An output that is still being sent over gloo must not be freed.
            "deallocate_pipeline_outputs": False,
            "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
            "moe_router_load_balancing_type": "none",
            "moe_aux_loss_coeff": 0.0,
            "mtp_num_layers": None,
            "moe_grouped_gemm": self.config.moe_grouped_gemm and has_transformer_engine(),
            "moe_permute_fusion": self.config.moe_permute_fusion and has_transformer_engine(),
            "should_pad_vocab": False,
        }
        for name, value in with_settings(ours, settings).items():
            setattr(self.config, name, value)
        if not has_transformer_engine():
            self.config.transformer_layer_spec = layer_spec
        self.config._pg_collection = ProcessGroupCollection.use_mpu_process_groups()
        self.config.finalize()
        virtual = self.config.virtual_pipeline_model_parallel_size
        self.chunks = [
            self.config.provide(
                parallel_state.is_pipeline_first_stage(ignore_virtual=False, vp_stage=stage),
                parallel_state.is_pipeline_last_stage(ignore_virtual=False, vp_stage=stage),
                stage,
            )
            for stage in (range(virtual) if virtual else [None])
        ]
        spare_padding(self.chunks, model_config)

    def load_weights(self) -> None:
        """Read this rank's weights from the model's files."""
        self._bridge.load_hf_weights(self.chunks)

    def export_weights(self) -> Iterator[tuple[str, Tensor]]:
        """As `k15_plugins.megatron.weights.exchange.export_weights`, but each rank holds each tensor for a moment."""
        for name, tensor in self._bridge.export_hf_weights(self.chunks, show_progress=False):
            if distributed.get_rank() == 0:
                yield name, tensor
