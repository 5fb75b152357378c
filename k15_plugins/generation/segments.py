"""One segment of each of several responses, on the trainer's own engine (paper 2.6).

TRL's generation goes on from token ids and does the rest as always: devices, sharded weights, weight sync, sleeping
engines. What it lacks is added around it: a limit for each response, log-probabilities from transformers, a pause when
enough responses have ended, and the stop of repetitions.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from k15_plugins.rollouts.repetition import RepetitionDetector, RepetitionRule

# Contexts up to here are padded to one batch. A padded prefill holds a mask of T x T for each row, 16 MB here and
# 17 GB at 128k, and each row costs as much as the longest.
_SHORT_CONTEXT_TOKENS = 4096
# Longer ones that differ are read in pieces, so that the mask is piece x T.
_PREFILL_PIECE_TOKENS = 512


class Segment(NamedTuple):
    """What was added to a response.

    Attributes:
        ids: The new tokens.
        logps: Their log-probabilities by the engine, nats.
        is_ended: Whether the engine has ended the response by a stop of its own (`stop`, `stop_token_ids` ...).
    """

    ids: list[int]
    logps: list[float | None]
    is_ended: bool = False


class SegmentRequest(NamedTuple):
    """What is wanted for B responses.

    Attributes:
        prompt_ids: Tokens of each prompt.
        started: Tokens that each response has already, int32.
        images: As TRL's `_tokenize_prompts` gives them, or None.
        multimodal_fields: The same.
        allowances: How many tokens each response may get, all above 0.
        must_end: Which responses must not be paused.
        ends_at_allowance: Which responses have ended with their allowance, the longest response being reached.
        pause_after: Pause the others when so many responses have ended; None never pauses.
        repetition: Stops a response that repeats itself; None never does.
    """

    prompt_ids: list[list[int]]
    started: list[np.ndarray]
    images: list[Any] | None
    multimodal_fields: dict[str, Any]
    allowances: list[int]
    must_end: list[bool]
    ends_at_allowance: list[bool]
    pause_after: int | None
    repetition: RepetitionRule | None


class Progress:
    """Follows the responses of a request while an engine generates, and tells which of them are to stop.

    Args:
        request: What is wanted.
        eos_ids: Tokens that end a response.
        device: Where the tokens come.
    """

    def __init__(self, request: SegmentRequest, eos_ids: Sequence[int], device: torch.device):
        self.eos_ids = torch.tensor(list(eos_ids), device=device)
        self.allowances_B = torch.tensor(request.allowances, device=device)
        self.must_end_B = torch.tensor(request.must_end, device=device)
        self.ends_at_allowance_B = torch.tensor(request.ends_at_allowance, device=device)
        self.pause_after = request.pause_after
        self.detector = (
            RepetitionDetector(request.started, request.repetition, device) if request.repetition is not None else None
        )
        self.lengths_B = torch.zeros_like(self.allowances_B)
        self.ended_B = torch.zeros_like(self.must_end_B)  # for good, not by a budget or a pause
        self.halted_B = torch.zeros_like(self.must_end_B)  # no more tokens, for whatever reason

    def step(self, ids_N: Tensor, rows_N: Tensor) -> Tensor:
        """Take one more token of some responses; tokens of halted ones do not matter.

        Args:
            ids_N: The tokens, shape (N,).
            rows_N: The responses that they belong to, each at most once, shape (N,).

        Returns:
            bool, shape (B,): which responses are halted.
        """
        running_N = ~self.halted_B[rows_N]
        self.lengths_B[rows_N] += running_N
        ends_N = torch.isin(ids_N, self.eos_ids)
        if self.detector is not None:
            ends_N = ends_N | self.detector.step(ids_N, rows_N)
        self.ended_B[rows_N] |= running_N & ends_N
        used_up_B = self.lengths_B >= self.allowances_B
        self.ended_B |= used_up_B & self.ends_at_allowance_B
        self.halted_B |= self.ended_B | used_up_B
        if self.pause_after is not None and int(self.ended_B.sum()) >= self.pause_after:
            self.halted_B |= ~self.must_end_B
        return self.halted_B


class _Stop(StoppingCriteria):
    """Stops each response where `Progress` says, and keeps the log-probability of each token."""

    def __init__(self, progress: Progress, temperature: float):
        self.progress = progress
        self.temperature = temperature
        self.rows_B = torch.arange(len(progress.halted_B), device=progress.halted_B.device)
        self.log_probs_BV: Tensor
        self.logps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        ids_B = input_ids[:, -1]
        self.logps.append(self.log_probs_BV.gather(1, ids_B.unsqueeze(1)).squeeze(1))
        return self.progress.step(ids_B, self.rows_B)


class _KeepLogProbs(LogitsProcessor):
    """Leaves the scores as they are; comes before temperature, top-p and the like are applied."""

    def __init__(self, stop: _Stop):
        self.stop = stop

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.stop.log_probs_BV = torch.log_softmax(scores.float() / self.stop.temperature, dim=-1)
        return scores


def generate_with_transformers(
    trainer: Any, single_turn: Callable[..., Any], request: SegmentRequest
) -> list[Segment]:
    """Generate one segment of each response with the trained model itself.

    Args:
        trainer: A `GRPOTrainer` that generates with transformers.
        single_turn: `GRPOTrainer._generate_single_turn` of it.
        request: What is wanted.
    """
    lengths = [len(ids) for ids in contexts(request)]
    # Processes that share the weights have to call the model equally often; a pause looks at all responses together.
    is_whole = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled or request.pause_after is not None
    if is_whole or request.images is not None or request.multimodal_fields:
        return _generate_batch(trainer, single_turn, request)
    segments: dict[int, Segment] = {}
    for places in batches_of_similar_lengths(lengths):
        part = request._replace(
            prompt_ids=[request.prompt_ids[place] for place in places],
            started=[request.started[place] for place in places],
            allowances=[request.allowances[place] for place in places],
            must_end=[request.must_end[place] for place in places],
            ends_at_allowance=[request.ends_at_allowance[place] for place in places],
        )
        segments.update(zip(places, _generate_batch(trainer, single_turn, part), strict=True))
    return [segments[place] for place in range(len(lengths))]


def batches_of_similar_lengths(lengths: Sequence[int]) -> list[list[int]]:
    """Split contexts into batches in which none is padded to more than twice its length, short ones aside.

    Args:
        lengths: Tokens of each context.

    Returns:
        The places of the contexts of each batch, in their order; the shortest contexts come first.
    """
    batches: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        doublings = max(0, (length - 1) // _SHORT_CONTEXT_TOKENS).bit_length()
        batches.setdefault(doublings, []).append(place)
    return [batches[doublings] for doublings in sorted(batches)]


def _generate_batch(trainer: Any, single_turn: Callable[..., Any], request: SegmentRequest) -> list[Segment]:
    progress = Progress(request, trainer.eos_token_ids, trainer.accelerator.device)
    stop = _Stop(progress, trainer.temperature)
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    started = contexts(request)
    extras: dict[str, Any] = {
        "stopping_criteria": StoppingCriteriaList([stop]),
        "logits_processor": LogitsProcessorList([_KeepLogProbs(stop)]),
    }
    lengths_before = {len(ids) for ids in started}
    if len(lengths_before) > 1 and max(lengths_before) > _SHORT_CONTEXT_TOKENS and not request.multimodal_fields:
        extras["prefill_chunk_size"] = _PREFILL_PIECE_TOKENS
    with _generate_takes(model, extras):
        ids, _ = single_turn(started, request.images, _extended(request), 1)
    lengths = progress.lengths_B.tolist()
    logps_BT = torch.stack(stop.logps, dim=1).cpu()
    return [
        Segment(row[:length], logps_T[:length].tolist())
        for row, length, logps_T in zip(ids, lengths, logps_BT, strict=True)
    ]


def contexts(request: SegmentRequest) -> list[list[int]]:
    """Return what each response goes on from: its prompt and what it has already.

    Args:
        request: What is wanted.
    """
    return [prompt + ids_T.tolist() for prompt, ids_T in zip(request.prompt_ids, request.started, strict=True)]


def _extended(request: SegmentRequest) -> dict[str, Any]:
    """Extend what the processor says of each token of a prompt (text or image) over the response, which is text."""
    return {
        name: [list(row) + [0] * len(ids_T) for row, ids_T in zip(value, request.started, strict=True)]
        if isinstance(value, list) and value and isinstance(value[0], list)
        else value
        for name, value in request.multimodal_fields.items()
    }


@contextmanager
def _generate_takes(model: Any, extras: dict[str, Any]) -> Iterator[None]:
    """Give `model.generate` arguments that TRL, which calls it, has no way to pass."""
    model.generate = partial(model.generate, **extras)
    try:
        yield
    finally:
        del model.generate
