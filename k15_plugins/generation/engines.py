"""Which engine continues the responses of a trainer."""

import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from trl import GRPOTrainer
from trl.generation import vllm_generation
from trl.import_utils import is_vllm_available

from k15_plugins.generation.segments import Segment, SegmentRequest, generate_with_transformers
from k15_plugins.generation.vllm_server import check_engines, generate_with_vllm_server, watched_single_turn
from k15_plugins.generation.vllm_steps import generate_with_vllm_in_steps


def prepare_vllm(model: Any, args: Any) -> None:
    """Make sure that TRL can give a model to vLLM; to be called before the trainer is built.

    Args:
        model: As TRL's trainers take it: a name, a folder, or a model.
        args: A `GRPOConfig`.

    Raises:
        ValueError: If vLLM has no place to read the model from, or its server has several engines.
        ImportError: If vLLM is not installed.
    """
    if not args.use_vllm:
        return
    if not isinstance(model, str) and not model.name_or_path:
        raise ValueError(
            "use_vllm=True reads the model from a folder or from the Hub, and this one was built in memory; save it "
            "with save_pretrained and load it from there."
        )
    if args.vllm_mode == "server":
        check_engines(args)
    if not torch.accelerator.is_available():
        from k15_plugins.generation.cpu.vllm import use_vllm_on_cpu

        use_vllm_on_cpu(torch.float32 if isinstance(model, str) else model.dtype)
    if args.vllm_mode == "colocate" and is_vllm_available():
        _take_a_port()
        _make_room(getattr(args, "batches_in_flight", 1))


def _take_a_port() -> None:
    """Choose where the engine's processes meet. TRL's choice is the same for all runs that begin at the same time."""
    if "MASTER_PORT" not in os.environ:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            os.environ["MASTER_PORT"] = str(free.getsockname()[1])


def _make_room(batches: int) -> None:
    """Let an engine in this process run several batches of rollouts at once; TRL makes room for one."""
    make = vllm_generation.LLM
    if isinstance(make, _RoomyEngine):
        make = make.make
    vllm_generation.LLM = _RoomyEngine(make, batches)


class _RoomyEngine(NamedTuple):
    make: Callable[..., Any]
    batches: int

    def __call__(self, max_num_seqs: int, **options: Any) -> Any:
        return self.make(max_num_seqs=max_num_seqs * self.batches, **options)


def generate_segments(trainer: Any, request: SegmentRequest) -> list[Segment]:
    """Generate one segment of each response with the engine that the trainer's config names.

    Args:
        trainer: A `GRPOTrainer`.
        request: What is wanted.

    Raises:
        ServerLost: If a vLLM server has died or stopped answering.
    """

    def single_turn(*args: Any) -> Any:
        return GRPOTrainer._generate_single_turn(trainer, *args)

    if not trainer.use_vllm:
        return generate_with_transformers(trainer, single_turn, request)
    if trainer.vllm_mode == "server":
        return generate_with_vllm_server(trainer, single_turn, request)
    return generate_with_vllm_in_steps(trainer, single_turn, request)


def generate_whole(trainer: Any, *args: Any, **kwargs: Any) -> Any:
    """Generate whole responses as TRL does, and watch over a server meanwhile.

    Args:
        trainer: A `GRPOTrainer`.
        *args: What TRL's `_generate_single_turn` takes.
        **kwargs: The same.

    Raises:
        ServerLost: If a vLLM server has died or stopped answering.
    """

    def single_turn(*args: Any) -> Any:
        return GRPOTrainer._generate_single_turn(trainer, *args, **kwargs)

    if trainer.use_vllm and trainer.vllm_mode == "server":
        return watched_single_turn(trainer, single_turn, *args)
    return single_turn(*args)
