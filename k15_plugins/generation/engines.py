"""Which engine continues the responses of a trainer."""

from typing import Any

from trl import GRPOTrainer

from k15_plugins.generation.segments import Segment, SegmentRequest, generate_with_transformers
from k15_plugins.generation.vllm_server import generate_with_vllm_server
from k15_plugins.generation.vllm_steps import generate_with_vllm_in_steps


def generate_segments(trainer: Any, request: SegmentRequest) -> list[Segment]:
    """Generate one segment of each response with the engine that the trainer's config names.

    Args:
        trainer: a `GRPOTrainer`.
        request: what is wanted.

    Raises:
        ServerLost: if a vLLM server has died or stopped answering.
    """

    def single_turn(*args: Any) -> Any:
        return GRPOTrainer._generate_single_turn(trainer, *args)

    if not trainer.use_vllm:
        return generate_with_transformers(trainer, single_turn, request)
    if trainer.vllm_mode == "server":
        return generate_with_vllm_server(trainer, single_turn, request)
    return generate_with_vllm_in_steps(trainer, single_turn, request)
