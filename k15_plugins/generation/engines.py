"""Which engine continues the responses of a trainer."""

from typing import Any

from trl import GRPOTrainer

from k15_plugins.generation.segments import Segment, SegmentRequest, generate_with_transformers


def generate_segments(trainer: Any, request: SegmentRequest) -> list[Segment]:
    """Generate one segment of each response with the engine that the trainer's config names.

    Args:
        trainer: a `GRPOTrainer`.
        request: what is wanted.
    """

    def single_turn(*args: Any) -> Any:
        return GRPOTrainer._generate_single_turn(trainer, *args)

    return generate_with_transformers(trainer, single_turn, request)
