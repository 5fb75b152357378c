"""Kimi k1.5's mirror-descent objective as plain functions on tensors (paper 2.3.2)."""

from k15_plugins.objective.advantages import baseline, is_in_group_of_equals, keep_after_drop, rest_advantages
from k15_plugins.objective.groups import check_groups
from k15_plugins.objective.surrogate import (
    MirrorDescentLoss,
    length_divisor,
    mirror_descent_loss,
    squared_surrogate,
    token_log_ratio,
    truncated_importance_weights,
)
from k15_plugins.objective.update_loss import UpdateLoss

__all__ = [
    "MirrorDescentLoss",
    "UpdateLoss",
    "baseline",
    "check_groups",
    "is_in_group_of_equals",
    "keep_after_drop",
    "length_divisor",
    "mirror_descent_loss",
    "rest_advantages",
    "squared_surrogate",
    "token_log_ratio",
    "truncated_importance_weights",
]
