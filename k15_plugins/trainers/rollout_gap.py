"""How far the engine that samples is from the model that is trained, and the usual causes."""

import warnings
from typing import Any

from torch import Tensor


def rollout_gap(output: dict[str, Any], mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gap between the log-probabilities of the trainer and those of the sampler, and where it is known.

    Args:
        output: A batch with TRL's `old_per_token_logps` and `sampling_per_token_logps`, shape (B, T), nats.
        mask_BT: 1 for the tokens in the loss, shape (B, T).
    """
    gap_BT = (output["old_per_token_logps"] - output["sampling_per_token_logps"]).abs()
    return gap_BT, mask_BT.bool() & ~gap_BT.isnan()


def warn_of_rollout_gap(mean: float, bound: float) -> None:
    """Warn of an engine that does not sample from the trained policy.

    Args:
        mean: Mean gap, nats.
        bound: Largest that goes without a warning, nats.
    """
    if mean > bound:
        warnings.warn(
            f"the engine's log-probabilities differ from the trainer's by {mean:.3g} nats in the mean, more than "
            f"rollout_gap_bound={bound}; the usual causes are weights that did not reach the engine (tied embeddings, "
            "adapters), an engine in another data type, and top_p, top_k, min_p or repetition_penalty, which the "
            "trainer's log-probabilities do not know.",
            stacklevel=2,
        )
