"""Rho of an iteration's first update: 0 by definition, so that what is seen is noise."""

import warnings


def warn_of_first_rho(largest: float, bound: float) -> None:
    """Warn of a log-ratio that is not 0 although no weight has moved yet.

    Args:
        largest: Largest |rho| of the first update of an iteration, nats.
        bound: Largest that goes without a warning, nats.
    """
    warnings.warn(
        f"rho of an iteration's first update should be 0 and is up to {largest:.3g} nats, more than "
        f"first_update_rho_bound={bound}; the usual causes are dropout or other noise in the forward pass, and "
        "bfloat16 where pi_ref's log-probabilities were computed in micro-batches of other shapes than the update's "
        "(partial rollouts, max_refills, backend=megatron): take a smaller tau, float32, or "
        "per_device_train_batch_size=1.",
        stacklevel=2,
    )
