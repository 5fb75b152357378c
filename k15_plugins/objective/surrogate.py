"""Kimi k1.5's mirror-descent objective as plain functions on tensors (paper 2.3.2).

The paper minimises, over rollouts y of the reference policy pi_ref (the policy that begins the iteration),

    L = E[(r - tau log Z - tau rho)^2]    with    rho = log pi_theta(y|x) - log pi_ref(y|x)  of the whole response.

With A = r - tau log Z, the ascent direction of the paper's equation (3) is -1/(2 tau) times the gradient of L, and so
minus the gradient of

    -A rho + (tau / 2) rho^2,

the form that `mirror_descent_loss` returns; it stays finite as tau goes to 0.

Shapes: B sequences, T tokens, N rollouts in rank-major order with the k rollouts of a problem next to each other.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class MirrorDescentLoss(NamedTuple):
    """What `mirror_descent_loss` returns, a value per sequence; the caller takes the mean over sequences.

    Attributes:
        loss_B: `policy_B + penalty_B`, shape (B,). Its gradient is the paper's equation (3) with the sign turned.
        policy_B: The policy-gradient term -A rho, shape (B,).
        penalty_B: The relative-entropy term (tau / 2) rho^2, shape (B,).
        rho_B: log pi_theta - log pi_ref of the whole response in nats, shape (B,), detached.
    """

    loss_B: Tensor
    policy_B: Tensor
    penalty_B: Tensor
    rho_B: Tensor


def token_log_ratio(logps_BT: Tensor, ref_logps_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Return log pi_theta - log pi_ref of each token, 0 outside the mask, in at least float32.

    Args:
        logps_BT: log-probabilities of the policy that is trained, shape (B, T), nats.
        ref_logps_BT: log-probabilities of the policy that sampled the iteration's rollouts, shape (B, T), nats.
        mask_BT: 1 for the tokens in the loss, 0 for padding and foreign tokens, shape (B, T).

    Raises:
        ValueError: If the shapes differ.
    """
    _check_alike(logps_BT=logps_BT, ref_logps_BT=ref_logps_BT, mask_BT=mask_BT)
    dtype = torch.promote_types(logps_BT.dtype, torch.float32)
    ratio_BT = logps_BT.to(dtype) - ref_logps_BT.to(dtype)
    return torch.where(mask_BT.bool(), ratio_BT, 0.0)


def squared_surrogate(rho_B: Tensor, advantages_B: Tensor, tau: float) -> Tensor:
    """Return (A - tau rho)^2 per sequence, the surrogate as the paper prints it (2.3.2).

    Its gradient is 2 tau times that of `mirror_descent_loss`.

    Args:
        rho_B: log-ratio of the whole response, shape (B,), nats.
        advantages_B: r - tau log Z, shape (B,).
        tau: Strength of the relative-entropy term.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_alike(rho_B=rho_B, advantages_B=advantages_B)
    return (advantages_B - tau * rho_B) ** 2


def mirror_descent_loss(
    logps_BT: Tensor,
    ref_logps_BT: Tensor,
    mask_BT: Tensor,
    advantages_B: Tensor,
    tau: float,
    *,
    penalty_level: Literal["sequence", "token"] = "sequence",
    length_normalization: Literal["none", "length", "max_length"] = "none",
    max_length_tokens: int | None = None,
    log_ratio_interval: Sequence[float] | None = None,
    importance_weights_BT: Tensor | None = None,
) -> MirrorDescentLoss:
    """Return -A rho + (tau / 2) rho^2 per sequence, the paper's equation (3) as a loss (2.3.2).

    The defaults are the paper's: rho is the sum over the whole response, nothing is divided by a length.

    Args:
        logps_BT: log-probabilities of the policy that is trained, shape (B, T), nats, any float dtype.
        ref_logps_BT: log-probabilities of the reference policy pi_ref, shape (B, T), nats, no gradient.
        mask_BT: 1 for the tokens in the loss, shape (B, T).
        advantages_B: r - baseline, shape (B,); see `baseline`.
        tau: Strength of the relative-entropy term, > 0.
        penalty_level: `"sequence"` squares the sum over tokens (the paper); `"token"` sums the squares (ROLL, Tinker,
            Kimi K2.5).
        length_normalization: `"none"` (the paper); `"length"` divides a sequence's loss by its tokens in the loss
            (OpenKimi); `"max_length"` divides it by `max_length_tokens`, which only rescales the learning rate.
        max_length_tokens: The constant of `length_normalization="max_length"`, tokens.
        log_ratio_interval: (alpha, beta) in nats. The policy term becomes Kimi K2.5's: the probability ratio of each
            token times A, without gradient for tokens whose log-ratio lies outside the interval whatever the sign of
            A. The penalty stays unmasked.
        importance_weights_BT: Weights of the tokens in the policy term, shape (B, T), no gradient; see
            `truncated_importance_weights`.

    Raises:
        ValueError: If `length_normalization="max_length"` comes without `max_length_tokens`, or the shapes do not fit.
    """
    if logps_BT.dim() != 2 or advantages_B.shape != logps_BT.shape[:1]:
        raise ValueError(
            f"logps_BT must be of shape (B, T) and advantages_B of shape (B,), got {tuple(logps_BT.shape)} and "
            f"{tuple(advantages_B.shape)}; give one advantage for each sequence."
        )
    ratio_BT = token_log_ratio(logps_BT, ref_logps_BT, mask_BT)
    rho_B = ratio_BT.sum(dim=1)
    advantages_B = advantages_B.to(ratio_BT.dtype)

    gain_BT = ratio_BT
    if log_ratio_interval is not None:
        low, high = log_ratio_interval
        gain_BT = ratio_BT.clamp(low, high).exp() * mask_BT
    if importance_weights_BT is not None:
        _check_alike(logps_BT=logps_BT, importance_weights_BT=importance_weights_BT)
        gain_BT = gain_BT * importance_weights_BT
    policy_B = -advantages_B * gain_BT.sum(dim=1)

    squares_B = rho_B**2 if penalty_level == "sequence" else (ratio_BT**2).sum(dim=1)
    penalty_B = 0.5 * tau * squares_B

    divisor_B = length_divisor(mask_BT, length_normalization, max_length_tokens)
    policy_B, penalty_B = policy_B / divisor_B, penalty_B / divisor_B
    return MirrorDescentLoss(policy_B + penalty_B, policy_B, penalty_B, rho_B.detach())


def length_divisor(
    mask_BT: Tensor,
    length_normalization: Literal["none", "length", "max_length"],
    max_length_tokens: int | None = None,
) -> Tensor:
    """Return what every term of a sequence's loss is divided by.

    Args:
        mask_BT: 1 for the tokens in the loss, shape (B, T).
        length_normalization: Of `mirror_descent_loss`.
        max_length_tokens: Of `mirror_descent_loss`.

    Returns:
        Shape (B,), tokens, 1 or more; all 1 for `"none"`.

    Raises:
        ValueError: If `length_normalization="max_length"` comes without `max_length_tokens`.
    """
    lengths_B = mask_BT.sum(dim=1).clamp(min=1)
    if length_normalization == "length":
        return lengths_B
    if length_normalization == "none":
        return torch.ones_like(lengths_B)
    if max_length_tokens is None:
        raise ValueError("max_length_tokens is missing; length_normalization='max_length' divides by it.")
    return torch.full_like(lengths_B, max_length_tokens)


def truncated_importance_weights(
    ref_logps_BT: Tensor, rollout_logps_BT: Tensor, mask_BT: Tensor, cap: float
) -> Tensor:
    """Return min(pi_ref / pi_rollout, cap) per token, the correction for an engine with other numerics (Kimi Linear).

    Args:
        ref_logps_BT: log-probabilities of the rollout policy by the trainer, shape (B, T), nats.
        rollout_logps_BT: The same by the engine that sampled, shape (B, T), nats; NaN where it gave none (weight 1).
        mask_BT: 1 for the tokens in the loss, shape (B, T).
        cap: Largest weight.

    Raises:
        ValueError: If `cap` is not above 0, or the shapes differ.
    """
    if not cap > 0:
        raise ValueError(f"cap must be above 0, got {cap}; set 2, say.")
    gap_BT = token_log_ratio(ref_logps_BT, rollout_logps_BT, mask_BT).nan_to_num(nan=0.0)
    return gap_BT.exp().clamp(max=cap).detach()


def _check_alike(**tensors: Tensor) -> None:
    """Refuse tensors of unlike shapes: broadcasting would make a number of them that means nothing."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"{' and '.join(shapes)} must have one shape, got {listed}; give them of the same rows and tokens."
        )
