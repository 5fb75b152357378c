"""The loss of rows of an update, whichever engine computes their log-probabilities (paper 2.3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from k15_plugins.objective.surrogate import length_divisor, mirror_descent_loss, truncated_importance_weights


@dataclass(frozen=True)
class UpdateLoss:
    """Computes the loss of some rows of an update; the sum over all rows, however they are split, is minimised.

    Args:
        tau: Strength of the relative-entropy term; 0 leaves it out.
        penalty_level: Of `mirror_descent_loss`.
        length_normalization: Of `mirror_descent_loss`.
        max_length_tokens: Of `mirror_descent_loss`.
        log_ratio_interval: Of `mirror_descent_loss`.
        importance_weight_cap: Of `truncated_importance_weights`; None weighs nothing.
        beta: Strength of the pull towards the starting policy, divided by lengths as the rest of the loss.
    """

    tau: float
    penalty_level: Literal["sequence", "token"] = "sequence"
    length_normalization: Literal["none", "length", "max_length"] = "none"
    max_length_tokens: int | None = None
    log_ratio_interval: Sequence[float] | None = None
    importance_weight_cap: float | None = None
    beta: float = 0.0

    def __call__(
        self, logps_BC: Tensor, entropies_BC: Tensor, columns: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the rows' losses, and figures of each row.

        Args:
            logps_BC: log-probabilities by the policy that is trained, shape (B, C), nats.
            entropies_BC: Of its distributions, shape (B, C), nats.
            columns: Of the rows. `mask`, shape (B, C): 1 for the tokens in the loss. `advantages`, shape (B,).
                `weight`, shape (B,): of the row in the loss, 0 for one that only fills the batch or was dropped. And,
                where they are needed, `ref_logps` by the policy that begins the iteration (left out, it is the one
                that is trained), `rollout_logps` by the engine that sampled and `start_logps` by the starting policy,
                all of shape (B, C), nats.

        Returns:
            A scalar, and `loss`, `policy`, `penalty`, `rho`, `entropy` (the sum over the tokens in the loss) and, with
            `beta`, `kl` (the sum over the tokens in the loss, undivided): shape (B,), detached.
        """
        mask_BC = columns["mask"]
        ref_logps_BC = columns.get("ref_logps", logps_BC.detach())
        weights_BC = None
        # Evaluation goes without them: its responses come from an engine that tells no log-probabilities.
        if self.importance_weight_cap is not None and "rollout_logps" in columns:
            weights_BC = truncated_importance_weights(
                ref_logps_BC, columns["rollout_logps"], mask_BC, self.importance_weight_cap
            )
        parts = mirror_descent_loss(
            logps_BC,
            ref_logps_BC,
            mask_BC,
            columns["advantages"],
            self.tau,
            penalty_level=self.penalty_level,
            length_normalization=self.length_normalization,
            max_length_tokens=self.max_length_tokens,
            log_ratio_interval=self.log_ratio_interval,
            importance_weights_BT=weights_BC,
        )
        loss_B = parts.loss_B
        figures = {"policy": parts.policy_B, "penalty": parts.penalty_B, "rho": parts.rho_B}
        if self.beta != 0.0:
            drift_BC = columns["start_logps"] - logps_BC
            figures["kl"] = ((drift_BC.exp() - drift_BC - 1) * mask_BC).sum(dim=1)
            divisor_B = length_divisor(mask_BC, self.length_normalization, self.max_length_tokens)
            loss_B = loss_B + self.beta * figures["kl"] / divisor_B
        weighted_B = loss_B * columns["weight"]
        figures |= {"loss": weighted_B, "entropy": (entropies_BC * mask_BC).sum(dim=1)}
        return weighted_B.sum(), {name: values.detach() for name, values in figures.items()}
