"""The loss that the trainer hands to the optimizer, against formulas written out by hand on a hand-made batch."""

import pytest
import tiny
import torch

from k15_plugins.objective import baseline

# The reference's log-probabilities are made up.
pytestmark = pytest.mark.filterwarnings("ignore:rho of an iteration's first update")

LENGTHS = [5, 3, 8, 1]  # responses, end-of-sequence token included
PROMPTS = [4, 2, 3, 4]
TAU = 0.7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    tiny.model().save_pretrained(folder)
    tiny.tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def hand_made_batch():
    generator = torch.Generator().manual_seed(0)
    eos = tiny.tiny_tokenizer().eos_token_id
    rows, width_p, width_c = len(LENGTHS), max(PROMPTS), max(LENGTHS)
    batch = {
        "prompt_ids": torch.zeros(rows, width_p, dtype=torch.long),
        "prompt_mask": torch.zeros(rows, width_p, dtype=torch.long),
        "completion_ids": torch.zeros(rows, width_c, dtype=torch.long),
        "completion_mask": torch.zeros(rows, width_c, dtype=torch.long),
    }
    for row, (p, c) in enumerate(zip(PROMPTS, LENGTHS, strict=True)):
        batch["prompt_ids"][row, -p:] = torch.randint(3, 100, (p,), generator=generator)
        batch["prompt_mask"][row, -p:] = 1
        batch["completion_ids"][row, :c] = torch.randint(3, 100, (c,), generator=generator)
        batch["completion_ids"][row, c - 1] = eos
        batch["completion_mask"][row, :c] = 1
    batch["advantages"] = torch.tensor([0.75, -0.25, 0.5, -1.0])
    batch["keep"] = torch.tensor([1.0, 1.0, 0.0, 1.0])
    noise = torch.rand(3, rows, width_c, generator=generator) - 0.5
    ours = plain_logps(tiny.model(), batch).detach()
    batch["old_per_token_logps"] = ours + noise[0]
    batch["ref_per_token_logps"] = ours + noise[1]
    batch["sampling_per_token_logps"] = batch["old_per_token_logps"] + noise[2]
    batch["tool_mask"] = torch.ones(rows, width_c, dtype=torch.long)
    batch["tool_mask"][2, 2:4] = 0
    return batch


def plain_logps(model, batch):
    """Log-probabilities of the completions from the logits, row by row and without any padding."""
    logps = []
    for row, (p, c) in enumerate(zip(PROMPTS, LENGTHS, strict=True)):
        ids = torch.cat([batch["prompt_ids"][row, -p:], batch["completion_ids"][row, :c]])
        logits = model(input_ids=ids.unsqueeze(0)).logits[0, p - 1 : -1]
        found = logits.log_softmax(-1).gather(1, ids[p:].unsqueeze(1)).squeeze(1)
        logps.append(torch.nn.functional.pad(found, (0, max(LENGTHS) - c)))
    return torch.stack(logps)


def by_hand(batch, logps, option):
    """Return the loss as docs/objective.md states it, one response after the other."""
    total = 0.0
    for row, c in enumerate(LENGTHS):
        tokens = [t for t in range(c) if batch["tool_mask"][row, t]]
        rho_t = [logps[row, t] - batch["old_per_token_logps"][row, t] for t in tokens]
        gain, penalty = sum(rho_t), sum(rho_t) ** 2
        if option == "log_ratio_interval":
            gain = sum(r.exp() if -0.2 < r < 0.3 else torch.tensor(-0.2 if r < 0 else 0.3).exp() for r in rho_t)
        if option == "importance_weight_cap":
            gaps = [batch["old_per_token_logps"][row, t] - batch["sampling_per_token_logps"][row, t] for t in tokens]
            gain = sum(min(gap.exp(), torch.tensor(1.1)) * r for gap, r in zip(gaps, rho_t, strict=True))
        if option == "penalty_level":
            penalty = sum(r**2 for r in rho_t)
        loss = -batch["advantages"][row] * gain + (0 if option == "positives_only" else TAU / 2) * penalty
        if option == "length":
            loss = loss / len(tokens)
        if option == "max_length":
            loss = loss / 8
        if option == "beta":
            drifts = [batch["ref_per_token_logps"][row, t] - logps[row, t] for t in tokens]
            loss = loss + 0.3 * sum(d.exp() - d - 1 for d in drifts)
        total = total + batch["keep"][row] * loss
    return total / len(LENGTHS)


OPTIONS = {
    "none": {},
    "penalty_level": {"penalty_level": "token"},
    "length": {"length_normalization": "length"},
    "max_length": {"length_normalization": "max_length"},
    "log_ratio_interval": {"log_ratio_interval": [-0.2, 0.3]},
    "importance_weight_cap": {"importance_weight_cap": 1.1},
    "positives_only": {"positives_only": True},
    "beta": {"beta": 0.3},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_loss_and_gradient_equal_the_formula(option, folder, tmp_path):
    changes = dict(OPTIONS[option])
    # The engine's log-probabilities are in the batch; no engine is needed to weigh by them.
    cap = changes.pop("importance_weight_cap", None)
    if option != "positives_only":
        changes["tau"] = TAU
    trainer = tiny.trainer(tmp_path, model=folder, **changes)
    trainer.args.importance_weight_cap = cap
    batch = hand_made_batch()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 4
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()

    model = tiny.model()
    expected = by_hand(batch, plain_logps(model, batch), option) / 4
    expected.backward()
    torch.testing.assert_close(loss.detach(), expected.detach(), atol=1e-5, rtol=1e-5)
    gradients = dict(model.named_parameters())
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, atol=1e-5, rtol=1e-4, msg=name)
    assert max(each.grad.abs().max() for each in gradients.values()) > 1e-2


def test_training_raises_the_reward(tmp_path):
    trainer = tiny.trainer(
        tmp_path, max_steps=80, learning_rate=1e-2, num_generations=8, per_device_train_batch_size=16
    )
    trainer.train()
    accuracy = tiny.logs(trainer, "k15/accuracy")
    assert sum(accuracy[-5:]) / 5 > sum(accuracy[:5]) / 5 + 0.25


@pytest.mark.parametrize(("reward", "settings"), [(0.7, {}), (1.0, {"baseline": "log_mean_exp", "tau": 0.3})])
def test_equal_rewards_move_nothing_not_even_by_rounding(reward, settings, tmp_path):
    def constant(completion_ids, **_):
        return [reward] * len(completion_ids)

    group = torch.full((8,), reward)
    residue = group - baseline(group, 8, settings.get("baseline", "mean"), tau=settings.get("tau"))
    assert residue.abs().max() > 0  # what rounding leaves
    trainer = tiny.trainer(tmp_path, reward_funcs=[constant], num_generations=8, max_steps=2, **settings)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    for name, value in trainer.model.named_parameters():
        assert torch.equal(value.cpu(), before[name]), name
    assert tiny.logs(trainer, "k15/dead_groups") == [1.0]
