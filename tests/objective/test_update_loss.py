"""The loss of an update, whole and in parts."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from k15_plugins.objective import mirror_descent_loss, truncated_importance_weights
from k15_plugins.objective.update_loss import UpdateLoss

B, C = 6, 5
OPTIONS = [
    {},
    {"penalty_level": "token", "length_normalization": "length"},
    {"length_normalization": "max_length", "max_length_tokens": 7, "log_ratio_interval": [-0.2, 0.3]},
    {"importance_weight_cap": 1.1, "beta": 0.05},
]


def rows(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logps, entropies, ref, sampler, start = (
        torch.rand(B, C, generator=generator, dtype=torch.float64) for _ in range(5)
    )
    lengths = torch.tensor([5, 1, 0, 3, 2, 4])
    return (
        (-logps).requires_grad_(),
        entropies,
        {
            "mask": (torch.arange(C) < lengths.unsqueeze(1)).long(),
            "advantages": torch.randn(B, generator=generator, dtype=torch.float64),
            "weight": torch.tensor([0.1, 0.3, 0.2, 0.0, 0.25, 0.15], dtype=torch.float64),
            "ref_logps": -ref,
            "rollout_logps": -sampler,
            "start_logps": -start,
        },
    )


@pytest.mark.parametrize("options", OPTIONS)
@given(order=st.permutations(range(B)), cuts=st.sets(st.integers(1, B - 1)))
def test_parts_sum_up_to_the_whole(options, order, cuts):
    loss = UpdateLoss(tau=0.4, **options)
    logps, entropies, columns = rows()
    whole, figures = loss(logps, entropies, columns)
    (expected,) = torch.autograd.grad(whole, logps)

    bounds = [0, *sorted(cuts), B]
    total, parts = torch.zeros(()), {}
    for first, last in pairwise(bounds):
        places = order[first:last]
        part, of_part = loss(logps[places], entropies[places], {name: each[places] for name, each in columns.items()})
        total = total + part
        for name, values in of_part.items():
            parts.setdefault(name, torch.empty(B, dtype=torch.float64))[places] = values
    (gradient,) = torch.autograd.grad(total, logps)
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(parts, figures)


@pytest.mark.parametrize("level", ["sequence", "token"])
def test_value_equals_the_closed_form(level):
    logps, entropies, columns = rows()
    loss, figures = UpdateLoss(tau=0.4, penalty_level=level)(logps, entropies, columns)
    mask, weight, advantages = (columns[name] for name in ("mask", "weight", "advantages"))
    ratios = (logps - columns["ref_logps"]) * mask
    rho = ratios.sum(dim=1)
    penalty = 0.2 * (rho**2 if level == "sequence" else (ratios**2).sum(dim=1))
    torch.testing.assert_close(loss, (weight * (penalty - advantages * rho)).sum())
    torch.testing.assert_close(figures["rho"], rho.detach())
    torch.testing.assert_close(figures["entropy"], (entropies * mask).sum(dim=1))
    parts = mirror_descent_loss(logps, columns["ref_logps"], mask, advantages, 0.4, penalty_level=level)
    torch.testing.assert_close(loss, (parts.loss_B * weight).sum())


def test_importance_weights_and_the_pull_to_the_start():
    logps, entropies, columns = rows()
    loss, figures = UpdateLoss(tau=0.4, importance_weight_cap=1.1, beta=0.05)(logps, entropies, columns)
    mask, ref = columns["mask"], columns["ref_logps"]
    weights = truncated_importance_weights(ref, columns["rollout_logps"], mask, 1.1)
    parts = mirror_descent_loss(logps, ref, mask, columns["advantages"], 0.4, importance_weights_BT=weights)
    drift = columns["start_logps"] - logps
    kl = ((drift.exp() - drift - 1) * mask).sum(dim=1)
    torch.testing.assert_close(loss, ((parts.loss_B + 0.05 * kl) * columns["weight"]).sum())
    torch.testing.assert_close(figures["kl"], kl.detach())


def test_without_reference_log_probabilities_the_policy_is_its_own():
    logps, entropies, columns = rows()
    del columns["ref_logps"]
    loss, figures = UpdateLoss(tau=0.4)(logps, entropies, columns)
    (gradient,) = torch.autograd.grad(loss, logps)
    assert figures["rho"].abs().max() == 0
    expected = -(columns["advantages"] * columns["weight"]).unsqueeze(1) * columns["mask"]
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("normalization", ["none", "length", "max_length"])
def test_the_pull_to_the_start_is_divided_as_the_rest_of_the_loss(normalization):
    logps, entropies, columns = rows()
    options = {"length_normalization": normalization, "max_length_tokens": 7}
    loss, figures = UpdateLoss(tau=0.4, beta=0.05, **options)(logps, entropies, columns)
    without, _ = UpdateLoss(tau=0.4, **options)(logps, entropies, columns)
    lengths = columns["mask"].sum(dim=1).clamp(min=1)
    divisor = {"none": torch.ones(B), "length": lengths, "max_length": torch.full((B,), 7)}[normalization]
    drift = columns["start_logps"] - logps
    kl = ((drift.exp() - drift - 1) * columns["mask"]).sum(dim=1)
    torch.testing.assert_close(loss - without, 0.05 * (kl / divisor * columns["weight"]).sum())
    torch.testing.assert_close(figures["kl"], kl.detach())  # logged undivided
