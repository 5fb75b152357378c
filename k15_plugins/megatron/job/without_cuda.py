"""Megatron-core where there is no CUDA: each line that its code needs, and why. Never imported on a machine with CUDA.

Written for megatron-core 0.16.1. For tests and small runs: a process that has called `run_without_cuda` computes on
the CPU what Megatron's code asks of a CUDA device.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

WRITTEN_FOR = "0.16.1"
# What Megatron misses or advises for the sake of a GPU, and torch on gradients that `_CudaIsTheCpu` passes on.
_UNSAID = (
    "Transformer Engine and Apex are not installed",
    "Apex is not installed",
    "When using async grad allreduce it is recommended to set the environment variable CUDA_DEVICE_MAX_CONNECTIONS",
    r"The \.grad attribute of a Tensor that is not a leaf Tensor is being accessed",
)


def run_without_cuda() -> None:
    """Let this process run Megatron on the CPU from here on; to be called once, on the main thread.

    Raises:
        ValueError: If another version of Megatron is installed.
    """
    installed = version("megatron-core")
    if installed != WRITTEN_FOR:
        raise ValueError(
            f"backend=megatron without CUDA needs megatron-core {WRITTEN_FOR}, and {installed} is installed; install "
            "that, or run on a machine with CUDA."
        )
    for message in _UNSAID:
        warnings.filterwarnings("ignore", message=message, category=UserWarning)
    _replace_torch_cuda()
    _replace_megatron()
    # Stays for the life of the process: Megatron asks for "cuda" in forward, backward, optimizer and checkpoint.
    _CudaIsTheCpu().__enter__()


class _CudaIsTheCpu(TorchFunctionMode):
    """Makes tensors on the CPU that are asked for on CUDA."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.record_stream:
            return None
        if func is torch.Tensor.type and len(args) == 1:
            # The optimizer sorts parameters by names such as "torch.cuda.FloatTensor".
            return func(*args).replace("torch.", "torch.cuda.")
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = "cpu"
        # There is nothing to pin memory for.
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        if func is torch.Tensor.to and len(args) > 1 and _is_cuda(args[1]):
            args = (args[0], "cpu", *args[2:])
        return func(*args, **kwargs)


def _is_cuda(device: Any) -> bool:
    return (isinstance(device, str) and device.startswith("cuda")) or (
        isinstance(device, torch.device) and device.type == "cuda"
    )


class _NoStream:
    """A stream, or an event of one, where all work is done when a call returns."""

    def __init__(self, *_: Any, **__: Any):
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self


def _replace_torch_cuda() -> None:
    cuda: Any = torch.cuda
    # Buffers and masks are made on the current device.
    cuda.current_device = lambda: torch.device("cpu")
    cuda.set_device = lambda *_: None
    # Schedules and gradient buffers wait for the device.
    cuda.synchronize = lambda *_, **__: None
    cuda.empty_cache = lambda: None
    cuda.current_stream = cuda.default_stream = lambda *_: _NoStream()
    cuda.stream = lambda _: nullcontext()
    # Classes, because annotations name them.
    cuda.Stream = cuda.Event = _NoStream
    # The seeds of the devices are those of the CPU.
    cuda.manual_seed = torch.manual_seed
    cuda.get_rng_state = lambda *_, **__: torch.get_rng_state()
    cuda.set_rng_state = lambda state, *_, **__: torch.set_rng_state(state)


def _replace_megatron() -> None:
    from megatron.core.tensor_parallel import random
    from megatron.core.transformer.moe import token_dispatcher

    replaced: Any = random
    # They read the generator of a CUDA device by its number.
    replaced._get_cuda_rng_state = lambda *_, **__: torch.get_rng_state()
    replaced._set_cuda_rng_state = lambda state, *_, **__: torch.set_rng_state(state)
    replaced.CudaRNGStatesTracker.fork = _fork
    # It makes numbers of the sizes of an all-to-all only on their way from a CUDA device.
    dispatcher: Any = token_dispatcher
    dispatcher.maybe_move_tensor_to_cpu = lambda tensor, as_numpy=False, record_stream=False: (
        tensor.numpy() if as_numpy and torch.is_tensor(tensor) else tensor
    )


@contextmanager
def _fork(tracker: Any, name: str = "model-parallel-rng") -> Iterator[None]:
    """Draw from a named state; Megatron's own also watches the CPU's generator, which is the same one here."""
    before = torch.get_rng_state()
    torch.set_rng_state(tracker.states_[name])
    try:
        yield
    finally:
        tracker.states_[name] = torch.get_rng_state()
        torch.set_rng_state(before)
