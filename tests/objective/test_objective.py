"""The objective against its closed forms (paper 2.3.2)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw

from k15_plugins.objective import (
    baseline,
    keep_after_drop,
    mirror_descent_loss,
    rest_advantages,
    squared_surrogate,
    truncated_importance_weights,
)

torch.manual_seed(0)
B, T = 6, 9


def batch(dtype=torch.float64, seed=0):
    """Log-probabilities of two policies, a ragged mask and advantages."""
    generator = torch.Generator().manual_seed(seed)
    logps = -torch.rand(B, T, generator=generator, dtype=torch.float64).to(dtype)
    ref = -torch.rand(B, T, generator=generator, dtype=torch.float64).to(dtype)
    lengths = torch.randint(1, T + 1, (B, 1), generator=generator)
    mask = (torch.arange(T) < lengths).long()
    advantages = torch.randn(B, generator=generator, dtype=torch.float64)
    return logps.requires_grad_(), ref, mask, advantages


def grad(loss, logps):
    return torch.autograd.grad(loss, logps, retain_graph=True)[0]


@pytest.mark.parametrize("tau", [0.03, 0.4, 2.0])
def test_gradient_equals_the_equivalent_forms_of_the_paper(tau):
    logps, ref, mask, A = batch()
    rho = ((logps - ref) * mask).sum(1)
    ours = grad(mirror_descent_loss(logps, ref, mask, A, tau).loss_B.mean(), logps)
    forms = {
        "(tau/2) (A/tau - rho)^2": tau / 2 * (A / tau - rho) ** 2,
        "(1/2tau) (A - tau rho)^2": squared_surrogate(rho, A, tau) / (2 * tau),
        "-sg(A - tau rho) log pi": -(A - tau * rho).detach() * (logps * mask).sum(1),
    }
    for name, form in forms.items():
        torch.testing.assert_close(grad(form.mean(), logps), ours, msg=lambda m, name=name: f"{name}: {m}")


def test_value_and_parts():
    logps, ref, mask, A = batch()
    parts = mirror_descent_loss(logps, ref, mask, A, 0.4)
    rho = ((logps - ref) * mask).sum(1)
    torch.testing.assert_close(parts.policy_B, -A * rho)
    torch.testing.assert_close(parts.penalty_B, 0.2 * rho**2)
    torch.testing.assert_close(parts.loss_B, parts.policy_B + parts.penalty_B)
    torch.testing.assert_close(parts.rho_B, rho.detach())
    assert not parts.rho_B.requires_grad


@pytest.mark.parametrize("tau", [0.01, 0.4, 5.0])
def test_first_update_is_reinforce_with_the_group_mean_and_independent_of_tau(tau):
    logps, _, mask, _ = batch()
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    A = rewards - baseline(rewards, 3)
    torch.testing.assert_close(A, torch.tensor([2 / 3, -1 / 3, -1 / 3, 0, 0, 0], dtype=torch.float64))
    ours = grad(mirror_descent_loss(logps, logps.detach(), mask, A, tau).loss_B.mean(), logps)
    reinforce = grad(-(A * (logps * mask).sum(1)).mean(), logps)
    torch.testing.assert_close(ours, reinforce)


def test_fixed_point_of_a_sequence_is_advantage_over_tau():
    tau, A = 0.25, torch.tensor([0.5, -0.5], dtype=torch.float64)
    rho = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([rho], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        loss = mirror_descent_loss(rho, torch.zeros(2, 1, dtype=torch.float64), torch.ones(2, 1), A, tau).loss_B.sum()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(rho.detach().squeeze(1), A / tau)


# Success probability after the exact step of a population: p, tau, mean baseline, exact Z, tau log Z.
POPULATION = [
    (0.02, 0.5, 0.106, 0.131, 0.060),
    (0.02, 0.1, 0.369, 0.998, 0.609),
    (0.10, 0.5, 0.345, 0.451, 0.247),
    (0.10, 0.1, 0.746, 0.9996, 0.770),
    (0.50, 0.5, 0.833, 0.881, 0.717),
    (0.90, 0.1, 1.000, 1.000, 0.990),
]


def minimise_over_policies(p, tau, estimate):
    """Minimise the surrogate over all policies on four actions, of which the first two are right."""
    ref = torch.tensor([0.3 * p, 0.7 * p, 0.4 * (1 - p), 0.6 * (1 - p)], dtype=torch.float64)
    A = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64) - estimate
    logits = ref.log().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        rho = logits.log_softmax(0) - ref.log()
        loss = (ref * squared_surrogate(rho, A, tau)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return logits.detach().softmax(0)[:2].sum().item()


def lambert_w_step(p, tau):
    """Closed form for the mean baseline: tau s + lambda e^s = A, lambda set by normalisation."""

    def mass(lam):
        growth = [(tau / lam) * lambertw(lam / tau * torch.e ** ((r - p) / tau)).real for r in (1.0, 0.0)]
        return p * growth[0], (1 - p) * growth[1]

    low, high = 1e-9, 10.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(mass(middle)) > 1 else (low, middle)
    return mass(low)[0]


@pytest.mark.parametrize(("p", "tau", "with_mean", "with_z", "tau_log_z"), POPULATION)
def test_population_step_of_a_bandit(p, tau, with_mean, with_z, tau_log_z):
    rewards = torch.tensor([1.0] * round(100 * p) + [0.0] * round(100 * (1 - p)), dtype=torch.float64)
    mean = baseline(rewards, 100)[0].item()
    log_z = baseline(rewards, 100, "log_mean_exp", tau=tau)[0].item()
    assert mean == pytest.approx(p)
    assert log_z == pytest.approx(tau_log_z, abs=6e-4)

    found = minimise_over_policies(p, tau, mean)
    assert found == pytest.approx(lambert_w_step(p, tau), abs=1e-4)
    assert found == pytest.approx(with_mean, abs=6e-4)

    boost = p * torch.e ** (1 / tau)
    assert minimise_over_policies(p, tau, log_z) == pytest.approx(boost / (boost + 1 - p), abs=1e-4)
    assert boost / (boost + 1 - p) == pytest.approx(with_z, abs=6e-4)


def test_sequence_and_token_penalties_differ_by_the_cross_terms():
    logps, ref, mask, A = batch()
    tau = 0.7
    by_sequence = mirror_descent_loss(logps, ref, mask, A, tau)
    by_token = mirror_descent_loss(logps, ref, mask, A, tau, penalty_level="token")
    tokens = (logps - ref) * mask
    cross = torch.stack([2 * sum(row[s] * row[t] for s in range(T) for t in range(s)) for row in tokens])
    torch.testing.assert_close(by_sequence.penalty_B - by_token.penalty_B, tau / 2 * cross)
    torch.testing.assert_close(by_sequence.policy_B, by_token.policy_B)


def test_coherent_drift_is_punished_by_the_length_more_in_the_sequence_form():
    drift = torch.full((1, 50), 0.02, dtype=torch.float64)
    zeros, ones, A = torch.zeros_like(drift), torch.ones_like(drift), torch.zeros(1)
    by_sequence = mirror_descent_loss(drift, zeros, ones, A, 1.0).penalty_B
    by_token = mirror_descent_loss(drift, zeros, ones, A, 1.0, penalty_level="token").penalty_B
    assert (by_sequence / by_token).item() == pytest.approx(50)


@pytest.mark.parametrize("kind", ["mean", "log_mean_exp"])
@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_equal_rewards_give_no_policy_gradient(kind, leave_one_out, reward):
    logps, ref, mask, _ = batch()
    rewards = torch.full((B,), reward, dtype=torch.float64)
    A = rewards - baseline(rewards, 3, kind, tau=0.2, leave_one_out=leave_one_out)
    assert grad(mirror_descent_loss(logps, ref, mask, A, 0.2).policy_B.sum(), logps).abs().max() < 1e-12


def test_baselines_equal_their_closed_forms():
    rewards = torch.tensor([1.0, 0.0, 0.5, 0.2, 0.2, 0.9], dtype=torch.float64)
    tau = 0.3
    for k in (2, 3, 6):
        groups = rewards.view(-1, k)
        mean = baseline(rewards, k).view(-1, k)
        lme = baseline(rewards, k, "log_mean_exp", tau=tau).view(-1, k)
        loo = baseline(rewards, k, leave_one_out=True).view(-1, k)
        loo_lme = baseline(rewards, k, "log_mean_exp", tau=tau, leave_one_out=True).view(-1, k)
        for g, group in enumerate(groups):
            for j in range(k):
                others = torch.cat([group[:j], group[j + 1 :]])
                assert mean[g, j] == pytest.approx(group.mean().item())
                assert lme[g, j] == pytest.approx((tau * (group / tau).exp().mean().log()).item())
                assert loo[g, j] == pytest.approx(others.mean().item())
                assert loo_lme[g, j] == pytest.approx((tau * (others / tau).exp().mean().log()).item())
        # the advantage with the sample inside its own mean is (k-1)/k of the leave-one-out one
        torch.testing.assert_close(groups - mean, (k - 1) / k * (groups - loo))
        assert (lme >= mean - 1e-12).all()


def test_baseline_leaves_out_rollouts_without_verdict():
    nan = torch.nan
    rewards = torch.tensor([1.0, nan, 0.0, nan, nan, nan])
    assert baseline(rewards, 3)[:3].tolist() == [0.5] * 3
    assert baseline(rewards, 3)[3:].isnan().all()
    expected = 0.1 * torch.tensor((torch.e**10 + 1) / 2).log().item()
    assert baseline(rewards, 3, "log_mean_exp", tau=0.1)[0].item() == pytest.approx(expected, rel=1e-5)


def test_log_mean_exp_does_not_overflow():
    assert baseline(torch.tensor([1.0, 0.0]), 2, "log_mean_exp", tau=0.001)[0].item() == pytest.approx(
        1 - 0.001 * 0.6931, abs=1e-4
    )


@settings(max_examples=30, deadline=None)
@given(padding=st.integers(0, 7), seed=st.integers(0, 10**6))
def test_invariance_to_padding_order_and_micro_batches(padding, seed):
    logps, ref, mask, A = batch(seed=seed)
    whole = mirror_descent_loss(logps, ref, mask, A, 0.3).loss_B

    junk = torch.full((B, padding), torch.nan, dtype=torch.float64)
    padded = mirror_descent_loss(
        torch.cat([logps, junk], 1), torch.cat([ref, junk], 1), torch.nn.functional.pad(mask, (0, padding)), A, 0.3
    )
    torch.testing.assert_close(padded.loss_B, whole)
    padded_grad = torch.autograd.grad(padded.loss_B.mean(), logps, retain_graph=True)[0]
    torch.testing.assert_close(padded_grad, grad(whole.mean(), logps))

    order = torch.randperm(B, generator=torch.Generator().manual_seed(seed))
    shuffled = mirror_descent_loss(logps[order], ref[order], mask[order], A[order], 0.3).loss_B
    torch.testing.assert_close(shuffled, whole[order])
    rewards = torch.rand(B, dtype=torch.float64)
    inside = torch.tensor([2, 0, 1, 5, 3, 4])
    torch.testing.assert_close(baseline(rewards[inside], 3), baseline(rewards, 3)[inside])

    halves = [
        mirror_descent_loss(logps[s], ref[s], mask[s], A[s], 0.3).loss_B.mean() for s in (slice(0, 3), slice(3, 6))
    ]
    torch.testing.assert_close(grad(sum(halves) / 2, logps), grad(whole.mean(), logps))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_are_float32_whatever_the_dtype(dtype):
    steps = 4096
    logps = torch.full((1, steps), -0.5, dtype=dtype)
    ref = torch.full((1, steps), -0.5 - 2**-8, dtype=dtype)
    parts = mirror_descent_loss(logps, ref, torch.ones(1, steps), torch.ones(1), 0.1)
    exact = (logps.double() - ref.double()).sum().item()
    assert parts.loss_B.dtype == torch.float32
    assert exact == pytest.approx(16.0)
    assert parts.rho_B.item() == pytest.approx(exact, rel=1e-6)


def test_length_normalised_forms():
    logps, ref, mask, A = batch()
    plain = mirror_descent_loss(logps, ref, mask, A, 0.3).loss_B
    by_length = mirror_descent_loss(logps, ref, mask, A, 0.3, length_normalization="length").loss_B
    by_max = mirror_descent_loss(
        logps, ref, mask, A, 0.3, length_normalization="max_length", max_length_tokens=20
    ).loss_B
    torch.testing.assert_close(by_length, plain / mask.sum(1))
    torch.testing.assert_close(by_max, plain / 20)


def test_token_mask_stops_the_policy_gradient_outside_the_interval_whatever_the_sign():
    ref = torch.zeros(2, 3, dtype=torch.float64)
    logps = torch.tensor([[-2.0, 0.1, 2.0], [-2.0, 0.1, 2.0]], dtype=torch.float64, requires_grad=True)
    A = torch.tensor([1.0, -1.0], dtype=torch.float64)
    parts = mirror_descent_loss(
        logps, ref, torch.ones(2, 3), A, 0.5, penalty_level="token", log_ratio_interval=(-1.0, 1.0)
    )
    policy = grad(parts.policy_B.sum(), logps)
    inside = torch.e**0.1
    torch.testing.assert_close(policy, torch.tensor([[0, -inside, 0], [0, inside, 0]], dtype=torch.float64))
    torch.testing.assert_close(grad(parts.penalty_B.sum(), logps), 0.5 * logps.detach())


def test_importance_weights_are_truncated_and_weigh_only_the_policy_term():
    logps, ref, mask, A = batch()
    sampler = ref - torch.linspace(-1, 1, T, dtype=torch.float64)
    weights = truncated_importance_weights(ref, sampler, mask, cap=1.5)
    expected = torch.linspace(-1, 1, T, dtype=torch.float64).exp().clamp(max=1.5)
    torch.testing.assert_close(weights[mask.bool()], expected.expand(B, T)[mask.bool()])
    parts = mirror_descent_loss(logps, ref, mask, A, 0.3, importance_weights_BT=weights)
    torch.testing.assert_close(parts.policy_B, -A * ((logps - ref) * mask * weights).sum(1))
    torch.testing.assert_close(parts.penalty_B, mirror_descent_loss(logps, ref, mask, A, 0.3).penalty_B)
    assert truncated_importance_weights(ref, torch.full_like(ref, torch.nan), mask, 2.0).eq(1).all()


def test_rest_keeps_the_best_of_each_group():
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.2, 0.7, torch.nan])
    assert rest_advantages(rewards, 3).tolist() == [1, 0, 1, 0, 0, 0, 0, 1, 0]


def test_dropping_hits_negative_advantages_with_the_given_probability():
    A = torch.tensor([1.0, -1.0, 0.0, -0.5]).repeat(5000)
    keep = keep_after_drop(A, 0.3, torch.Generator().manual_seed(0))
    assert keep[A >= 0].all()
    assert keep[A < 0].mean().item() == pytest.approx(0.7, abs=0.02)
    assert keep_after_drop(A, 0.0, torch.Generator()).all()
    assert not keep_after_drop(A, 1.0, torch.Generator())[A < 0].any()


def row(*shape):
    return torch.zeros(shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mirror_descent_loss(row(4, 3), row(4, 3), row(4, 3), row(1), 0.4),
            r"advantages_B of shape \(B,\), got \(4, 3\) and \(1,\); give one advantage for each sequence",
        ),
        (lambda: mirror_descent_loss(row(4, 3), row(4, 3), row(4, 3), row(4, 1), 0.4), r"got \(4, 3\) and \(4, 1\)"),
        (lambda: mirror_descent_loss(row(3), row(3), row(3), row(3), 0.4), r"must be of shape \(B, T\)"),
        (
            lambda: mirror_descent_loss(row(4, 3), row(1, 3), row(4, 3), row(4), 0.4),
            r"must have one shape, got logps_BT \(4, 3\), ref_logps_BT \(1, 3\), mask_BT \(4, 3\)",
        ),
        (
            lambda: mirror_descent_loss(row(4, 3), row(4, 3), row(4, 3), row(4), 0.4, importance_weights_BT=row(4, 1)),
            r"importance_weights_BT \(4, 1\)",
        ),
        (lambda: squared_surrogate(row(4), row(4, 1), 0.4), r"rho_B \(4,\), advantages_B \(4, 1\)"),
        (lambda: truncated_importance_weights(row(4, 3), row(4, 1), row(4, 3), 2.0), "must have one shape"),
        (lambda: truncated_importance_weights(row(4, 3), row(4, 3), row(4, 3), 0.0), "cap must be above 0, got 0.0"),
        (lambda: baseline(row(5), 2), "whole groups of num_generations=2 rollouts, got 5"),
        (lambda: baseline(row(2, 4), 4), r"must be of shape \(N,\), .* got \(2, 4\)"),
        (lambda: baseline(row(4), 2, "median"), "kind must be one of mean, log_mean_exp, got 'median'"),
        (lambda: baseline(row(4), 2, "log_mean_exp", tau=0.0), "tau must be above 0, got 0.0"),
        (lambda: rest_advantages(row(5), 2), "whole groups of num_generations=2 rollouts, got 5"),
        (lambda: keep_after_drop(row(4), 1.5, torch.Generator()), "drop_probability must be from 0 to 1, got 1.5"),
        (lambda: keep_after_drop(row(4, 1), 0.5, torch.Generator()), r"must be of shape \(N,\)"),
    ],
)
def test_what_would_be_broadcast_or_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
