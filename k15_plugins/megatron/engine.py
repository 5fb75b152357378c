"""Megatron-core as an engine: log-probabilities, a training step, and weights out, on all ranks of a job at once."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.distributed import (
    DistributedDataParallel,
    DistributedDataParallelConfig,
    finalize_model_grads,
)
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed
from megatron.core.transformer.module import Float16Module
from torch import Tensor, distributed

from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.micro_batches import MicroBatch, build_micro_batch, collect, split_into_micro_batches
from k15_plugins.megatron.model.bridge import BridgedModel
from k15_plugins.megatron.model.build import padded_vocab_size
from k15_plugins.megatron.model.families import check_model
from k15_plugins.megatron.model.mapped_model import MappedModel
from k15_plugins.megatron.model.vocab_parallel import vocab_parallel_entropies, vocab_parallel_logps
from k15_plugins.megatron.rows import Rows
from k15_plugins.megatron.settings import EngineSettings
from k15_plugins.megatron.weights.checkpoint import load_checkpoint, parts_of, save_checkpoint
from k15_plugins.megatron.weights.model_files import write_tensors

# Takes log-probabilities and entropies of the responses, shape (B, C), and the columns of their rows; returns the sum
# of the rows' losses, and figures to be brought to the trainer, tensors whose first dimension is B.
Loss = Callable[[Tensor, Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]


class MegatronEngine:
    """A model and its optimizer on the ranks of a torchrun job; all ranks make the same calls with the same arguments.

    Args:
        settings: Layout, optimizer and precision.
        folder: Of the model, as transformers saves it.

    Raises:
        ValueError: If the model cannot be held, or not in this layout.
    """

    def __init__(self, settings: EngineSettings, folder: str):
        from transformers import AutoConfig

        self.settings = settings
        layout = settings.layout
        self.model_config = AutoConfig.from_pretrained(folder)
        check_model(self.model_config, layout, settings.bridge)
        self.device = _join(layout, settings.seed)
        dtype = getattr(torch, settings.dtype)
        kind = BridgedModel if settings.bridge else MappedModel
        self.model = kind(self.model_config, folder, layout, dtype, **settings.transformer)
        self.config = self.model.config
        for chunk in self.model.chunks:
            chunk.to(self.device)
        self.model.load_weights()
        chunks = self.model.chunks
        if dtype == torch.bfloat16:
            chunks = [Float16Module(self.config, chunk) for chunk in chunks]
        self.chunks = [
            DistributedDataParallel(
                self.config,
                DistributedDataParallelConfig(grad_reduce_in_fp32=True, use_distributed_optimizer=True),
                chunk,
            )
            for chunk in chunks
        ]
        self.optimizer = get_megatron_optimizer(
            OptimizerConfig(
                optimizer="adam",
                lr=0.0,
                weight_decay=settings.weight_decay,
                adam_beta1=settings.adam_beta1,
                adam_beta2=settings.adam_beta2,
                adam_eps=settings.adam_epsilon,
                bf16=dtype == torch.bfloat16,
                params_dtype=dtype,
                use_distributed_optimizer=True,
            ),
            self.chunks,
        )
        self.config.finalize_model_grads_func = finalize_model_grads

    def logps(self, rows: Rows, temperature: float) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies of the responses, nats, shape (N, C), 0 for padding.

        Args:
            rows: Prompts and responses.
            temperature: That logits are divided by.
        """
        with torch.no_grad():
            figures = self._run(rows, temperature, _keep_logps, forward_only=True)
        return figures["logps"], figures["entropies"]

    def train_batch(self, rows: Rows, temperature: float, loss: Loss) -> dict[str, Tensor]:
        """Compute the gradients of one optimizer step in one schedule call, and reduce them over the ranks.

        Args:
            rows: All rows of the step.
            temperature: That logits are divided by.
            loss: Of some of the rows, summed; its sum over all rows is what is minimised.

        Returns:
            The figures of the loss, and `loss`, each of all rows in their order.
        """
        for chunk in self.chunks:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        figures = self._run(rows, temperature, loss, forward_only=False)
        self.optimizer.prepare_grads()
        return figures

    @torch.no_grad()
    def clip_grad_norm(self, max_norm: float) -> float:
        """Clip the gradients of the step, and return the norm that they had.

        Args:
            max_norm: Largest norm; 0 or less clips nothing.
        """
        norm = self.optimizer.get_grad_norm()
        for each in parts_of(self.optimizer):
            if max_norm > 0 and each.get_parameters():
                clip_grad_by_total_norm_fp32(each.get_parameters(), max_norm, norm)
        return float(norm)

    def step(self, learning_rate: float) -> None:
        """Update the weights.

        Args:
            learning_rate: Of this step.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group.get("lr_mult", 1.0)
            # Norms and biases have a multiplier of 0.
            group["weight_decay"] = self.settings.weight_decay * group.get("wd_mult", 1.0)
        self.optimizer.step_with_ready_grads()

    def reset_optimizer(self) -> None:
        """Forget the moments of Adam, as at the start of an iteration (paper 2.3.2)."""
        for each in parts_of(self.optimizer):
            each.optimizer.state.clear()
            for group in each.param_groups:
                # Transformer Engine's Adam counts steps here.
                group.pop("step", None)

    def export_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Bring the whole model to rank 0, tensor by tensor, under the names of transformers' checkpoints."""
        for name, tensor in self.model.export_weights():
            # Pickle writes the whole storage of a view, and many parameters are views of one flat buffer.
            is_view = tensor.untyped_storage().nbytes() != tensor.nbytes
            yield name, tensor.clone() if is_view else tensor

    def save_model(self, folder: str, max_shard_bytes: int) -> None:
        """Write the weights as transformers and vLLM load them.

        Args:
            folder: Is there already.
            max_shard_bytes: Of a file.
        """
        tensors = self.export_weights()
        if distributed.get_rank() == 0:
            write_tensors(folder, tensors, max_shard_bytes)
        for _ in tensors:
            pass
        distributed.barrier()

    def save(self, folder: str) -> None:
        """Save weights and optimizer so that any layout can go on from them.

        Args:
            folder: Is made or replaced, and complete when the call returns.
        """
        save_checkpoint(folder, self.chunks, self.optimizer)

    def load(self, folder: str) -> None:
        """Go on from what `save` has written, in this layout or another.

        Args:
            folder: That was saved to.
        """
        load_checkpoint(folder, self.chunks, self.optimizer)

    def memory(self) -> list[dict[str, float]]:
        """Return the memory of each rank, MB: the weights, and the peak of the process or device."""
        import resource

        peak = (
            torch.cuda.max_memory_allocated() / 1e6
            if self.device.type == "cuda"
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        )
        weights = [each for chunk in self.model.chunks for each in chunk.parameters()]
        mine = {
            "weights_mb": sum(each.numel() * each.element_size() for each in weights) / 1e6,
            "peak_mb": peak,
        }
        gathered: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(gathered, mine)
        return gathered

    def _run(self, rows: Rows, temperature: float, loss: Loss, forward_only: bool) -> dict[str, Tensor]:
        layout = self.settings.layout
        split = split_into_micro_batches(
            [len(ids) for ids in rows.ids],
            layout.data_parallel,
            self.settings.max_tokens_per_micro_batch,
            layout.pipeline_parallel if layout.virtual_pipeline > 1 else 1,
        )
        # Sequence parallelism splits the tokens of a row evenly.
        even = layout.tensor_parallel if layout.sequence_parallel else 1
        mine = split[parallel_state.get_data_parallel_rank()]
        batches = [build_micro_batch(rows, places, even, self.device) for places in mine]
        # Megatron divides the loss by the micro-batches and the gradients by the replicas; ours is a sum.
        scale = len(batches) * layout.data_parallel
        outputs = get_forward_backward_func()(
            forward_step_func=partial(self._forward, temperature=temperature, loss=loss, scale=scale),
            # A stage reads each micro-batch once for each of its chunks.
            data_iterator=[iter(batches) for _ in self.chunks] if len(self.chunks) > 1 else iter(batches),
            model=self.chunks if len(self.chunks) > 1 else self.chunks[0],
            num_microbatches=len(batches),
            seq_length=max(batch.ids_BT.shape[1] for batch in batches),
            micro_batch_size=max(batch.ids_BT.shape[0] for batch in batches),
            forward_only=forward_only,
        )
        return collect(outputs, rows)

    def _forward(self, batches: Iterator[MicroBatch], model: Any, **options: Any) -> tuple[Tensor, Any]:
        batch = next(batches)
        positions_BT = torch.arange(batch.ids_BT.shape[1], device=self.device).expand_as(batch.ids_BT)
        logits_BTV = model(batch.ids_BT, positions_BT, None)
        return logits_BTV, partial(self._loss, batch, **options)

    def _loss(
        self, batch: MicroBatch, logits_BTV: Tensor, temperature: float, loss: Loss, scale: int
    ) -> tuple[Tensor, dict[str, Any]]:
        """Compute the loss of a micro-batch on the last stage."""
        positions_BCV = batch.positions_BC.unsqueeze(2).expand(-1, -1, logits_BTV.shape[2])
        logits_BCV = logits_BTV.gather(1, positions_BCV).float() / temperature
        self._mask_padded_vocabulary(logits_BCV)
        group = parallel_state.get_tensor_model_parallel_group()
        mask_BC = batch.columns["response_mask"]
        entropies_BC = vocab_parallel_entropies(logits_BCV.detach(), group) * mask_BC
        logps_BC = torch.where(mask_BC.bool(), vocab_parallel_logps(logits_BCV, batch.targets_BC), 0.0)
        if not batch.places:
            return logps_BC.sum() * 0.0, {"places": [], "figures": {}}
        total, figures = loss(logps_BC, entropies_BC, batch.columns)
        return total * scale, {"places": batch.places, "figures": figures}

    def _mask_padded_vocabulary(self, logits_BCV: Tensor) -> None:
        layout, width = self.settings.layout, logits_BCV.shape[2]
        padding = padded_vocab_size(self.model_config, layout.tensor_parallel) - self.model_config.vocab_size
        first = width * parallel_state.get_tensor_model_parallel_rank()
        if padding and first + width > self.model_config.vocab_size:
            logits_BCV[:, :, max(0, self.model_config.vocab_size - first) :] = torch.finfo(logits_BCV.dtype).min


def _keep_logps(logps_BC: Tensor, entropies_BC: Tensor, columns: dict[str, Tensor]) -> Any:
    return logps_BC.sum() * 0.0, {"logps": logps_BC, "entropies": entropies_BC}


def _join(layout: MegatronLayout, seed: int) -> torch.device:
    """Join the other ranks of the job, and return this rank's device."""
    has_cuda = torch.cuda.is_available()
    if has_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not distributed.is_initialized():
        # Objects travel by gloo, tensors of CUDA by NCCL.
        distributed.init_process_group("cpu:gloo,cuda:nccl" if has_cuda else "gloo")
    if distributed.get_world_size() != layout.processes:
        raise ValueError(
            f"backend.processes={layout.processes} but the job has {distributed.get_world_size()} ranks; make them "
            "equal."
        )
    parallel_state.destroy_model_parallel()
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=layout.tensor_parallel,
        pipeline_model_parallel_size=layout.pipeline_parallel,
        virtual_pipeline_model_parallel_size=layout.virtual_pipeline if layout.virtual_pipeline > 1 else None,
        expert_model_parallel_size=layout.expert_parallel,
        expert_tensor_parallel_size=1,
    )
    model_parallel_cuda_manual_seed(seed)
    return torch.device("cuda", torch.cuda.current_device()) if has_cuda else torch.device("cpu")
