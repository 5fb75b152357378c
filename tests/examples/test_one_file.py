"""The method in one file, and the trainer: each is the other's oracle."""

import copy
import importlib.util
import random
import re
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerCallback

from k15_plugins import PrioritizedSampler
from k15_plugins.objective import baseline
from k15_plugins.rewards import ExactMatchReward
from k15_plugins.shaping import length_penalty_is_on, length_reward

FILE = Path(__file__).parents[2] / "examples" / "kimi_k15_in_one_file.py"
TAU = 0.7
UPDATES = 4


@pytest.fixture(scope="module")
def one_file():
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rollouts_of(one_file, batch):
    """The rows of a trainer's batch, without their padding."""
    columns = [batch[name] for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")]
    rows = zip(*columns, strict=True)
    return [
        one_file.Rollout(0, prompt[seen.bool()].tolist(), response[written.bool()].tolist(), True)
        for prompt, seen, response, written in rows
    ]


def batch_of(one_file, rollouts, advantages_B):
    """Rollouts as a trainer's batch."""
    batch = {"advantages": advantages_B}
    for name, side in (("prompt", "left"), ("response", "right")):
        rows = [getattr(each, name) for each in rollouts]
        key = "prompt" if name == "prompt" else "completion"
        batch[f"{key}_ids"] = one_file.padded(rows, side)
        batch[f"{key}_mask"] = one_file.padded([[1] * len(row) for row in rows], side)
    return batch


def trainers_logps(trainer, batch):
    ids_BT, mask_BT = (
        torch.cat([batch[f"prompt_{kind}"], batch[f"completion_{kind}"]], dim=1) for kind in ("ids", "mask")
    )
    with torch.no_grad():
        found, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids_BT, mask_BT, batch["completion_ids"].size(1)
        )
    return found


@pytest.mark.filterwarnings("ignore:rho of an iteration's first update")  # the reference is another model
def test_loss_and_gradient_are_the_trainers(one_file, monkeypatch, tmp_path):
    monkeypatch.setattr(one_file, "TAU", TAU)
    rng = random.Random(0)
    rollouts = [
        one_file.Rollout(0, [rng.randrange(3, 100) for _ in range(p)], [rng.randrange(3, 100) for _ in range(c)], True)
        for p, c in [(4, 5), (2, 3), (3, 8), (4, 1)]
    ]
    advantages_B = torch.tensor([0.75, -0.25, 0.5, -1.0])
    reference = tiny.model(seed=1)

    trainer = tiny.trainer(tmp_path, tau=TAU)
    batch = batch_of(one_file, rollouts, advantages_B)
    trainer.model.load_state_dict(reference.state_dict())
    batch["old_per_token_logps"] = trainers_logps(trainer, batch)
    trainer.model.load_state_dict(tiny.model().state_dict())
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    expected = trainer._compute_loss(trainer.model, batch)
    expected.backward()

    model = tiny.model()
    logps_B, ref_logps_B = one_file.logps(model, rollouts), one_file.logps(reference, rollouts).detach()
    loss = one_file.surrogate(logps_B, ref_logps_B, advantages_B).mean()
    loss.backward()
    assert (logps_B - ref_logps_B).abs().min() > 1e-3
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-5)
    gradients = dict(trainer.model.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, gradients[name].grad, atol=1e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


class Iterations(TrainerCallback):
    """Keep the mini-batches of each iteration, and the weights at its end."""

    def __init__(self):
        self.batches, self.weights = [], []

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step % UPDATES == 0:
            self.batches.append(copy.deepcopy(self.trainer._buffered_inputs))
            self.weights.append(copy.deepcopy(model.state_dict()))


# Of a gap in rounding, Adam makes a larger one where a gradient is near 0; float64 leaves TRL's logits in float32.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_updates_of_two_iterations_give_the_trainers_weights(one_file, monkeypatch, tmp_path, dtype):
    for name, value in {"TAU": TAU, "UPDATES": UPDATES, "LEARNING_RATE": 1e-3}.items():
        monkeypatch.setattr(one_file, name, value)
    seen = Iterations()
    seen.trainer = tiny.trainer(
        tmp_path,
        model=tiny.model().to(dtype),
        callbacks=[seen],
        tau=TAU,
        updates_per_iteration=UPDATES,
        learning_rate=1e-3,
        length_penalty_weight=0.5,
        max_steps=2 * UPDATES,
    )
    seen.trainer.train()
    model = tiny.model().to(dtype)
    start = copy.deepcopy(model.state_dict())
    for batches, weights in zip(seen.batches, seen.weights, strict=True):
        rollouts = [each for batch in batches for each in rollouts_of(one_file, batch)]
        one_file.update(model, rollouts, torch.cat([batch["advantages"] for batch in batches]))
        for name, value in model.state_dict().items():
            torch.testing.assert_close(
                value, weights[name], atol=1e-6, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
            )
    assert max((value - start[name]).abs().max() for name, value in model.state_dict().items()) > 1e-3


GROUPS = st.integers(2, 8).flatmap(
    lambda k: st.lists(st.lists(st.tuples(st.integers(1, 99), st.booleans()), min_size=k, max_size=k), min_size=1)
)


@given(GROUPS)
def test_length_reward_is_the_packages(one_file, groups):
    lengths_GK = torch.tensor([[tokens for tokens, _ in group] for group in groups])
    right_GK = torch.tensor([[right for _, right in group] for group in groups])
    expected_N = length_reward(lengths_GK.view(-1), right_GK.view(-1), lengths_GK.size(1))
    assert torch.equal(one_file.length_reward(lengths_GK, right_GK).view(-1), expected_N)


@given(GROUPS, st.integers(0, 3))
def test_advantages_are_rewards_less_the_packages_baseline(one_file, groups, iteration):
    lengths_GK = torch.tensor([[tokens for tokens, _ in group] for group in groups])
    right_GK = torch.tensor([[right for _, right in group] for group in groups])
    k = lengths_GK.size(1)
    rewards_N = right_GK.view(-1).float()
    if length_penalty_is_on(iteration, 2):
        rewards_N = rewards_N + 0.5 * length_reward(lengths_GK.view(-1), right_GK.view(-1), k)
    with patch.multiple(one_file, LENGTH_WARMUP=2, LENGTH_WEIGHT=0.5):
        found_N = one_file.advantages(lengths_GK, right_GK, iteration).view(-1)
    torch.testing.assert_close(found_N, rewards_N - baseline(rewards_N, k), atol=1e-6, rtol=0)


@given(
    st.lists(  # iterations
        st.lists(
            st.tuples(st.integers(0, 4), st.lists(st.booleans(), min_size=4, max_size=4)), min_size=1, max_size=6
        ),
        max_size=5,
    )
)
def test_weights_of_problems_are_the_packages(one_file, iterations):
    sampler = PrioritizedSampler(5, floor=0.0, cap=1.0)
    right_P, rollouts_P = torch.zeros(2, 5)
    for iteration in iterations:
        problems_G = torch.tensor([problem for problem, _ in iteration])
        right_GK = torch.tensor([right for _, right in iteration])
        one_file.observe(right_P, rollouts_P, problems_G, right_GK)
        sampler.draw(0)
        sampler.observe(problems_G.numpy(), right_GK.sum(dim=1).numpy(), np.full(len(problems_G), 4))
    with patch.object(torch, "multinomial") as multinomial:
        one_file.draw(right_P, rollouts_P, 3)
    weights_P, number = multinomial.call_args.args
    np.testing.assert_allclose(weights_P.numpy(), sampler._priority(np.arange(5)), atol=1e-6)
    assert number == 3


def test_problems_are_drawn_as_often_as_they_go_wrong(one_file):
    torch.manual_seed(0)
    right_P, rollouts_P = torch.tensor([0.0, 8.0, 4.0, 1.0]), torch.full((4,), 8.0)
    wrong_P = torch.tensor([8.5, 0.5, 4.5, 7.5])
    draws = [one_file.draw(right_P, rollouts_P, 1)[0] for _ in range(4000)]
    shares_P = torch.bincount(torch.tensor(draws), minlength=4) / 4000
    torch.testing.assert_close(shares_P, wrong_P / wrong_P.sum(), atol=0.03, rtol=0)
    assert sorted(one_file.draw(right_P, rollouts_P, 4)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("4 + 3 is 7 . 7 - 12 is -5 . answer -5 <eos>", True),
        ("answer 4 . 7 - 12 is -5 . answer -5 <eos>", True),
        ("answer 5 <eos>", False),
        ("answer -5 4 <eos>", False),
        ("answer -5 . answer 4 <eos>", False),
        ("-5 <eos>", False),
        ("answer <eos>", False),
        ("<eos>", False),
    ],
)
def test_the_final_reward_is_the_packages(one_file, text, right):
    package = ExactMatchReward()([""], [text.removesuffix("<eos>")], [[0]], answer=["-5"])
    assert one_file.is_right(text, -5) == right == bool(package[0])


def test_a_response_that_was_cut_off_is_wrong_as_for_the_trainer_with_partial_rollouts(one_file, tmp_path):
    assert not one_file.is_right("4 - 9 is -5 . answer -5", -5)
    assert tiny.trainer(tmp_path, rollout_budget_tokens=3).args.fails_truncated()


def test_problems_are_sums_in_the_tokenizers_words(one_file):
    tokenizer = tiny.tiny_tokenizer()
    problems = one_file.make_problems(300, random.Random(0))
    assert len({prompt for prompt, _ in problems}) == 300
    for prompt, answer in problems:
        assert tokenizer.unk_token_id not in tokenizer(prompt)["input_ids"]
        assert 3 <= sum(word.isdigit() for word in prompt.split()) <= 6
        assert eval(prompt.removesuffix("=")) == answer


def test_an_iteration_draws_goes_on_judges_and_updates(one_file, monkeypatch):
    small = {"PROBLEMS": 60, "HELD_OUT": 8, "NEW_GROUPS": 6, "K": 4, "BUDGET": 24, "LENGTH_WARMUP": 2}
    for name, value in small.items():
        monkeypatch.setattr(one_file, name, value)
    tokenizer, answers = tiny.tiny_tokenizer(), [answer for _, answer in one_file.make_problems(68, random.Random(0))]
    calls, unfinished, fresh = [], [], iter(range(60))
    go_on, observe = one_file.go_on, one_file.observe

    def seen_draw(right_P, rollouts_P, number):
        calls.append("draw")
        assert number == 6
        assert rollouts_P.sum() == observed.get("rollouts", 0)
        assert right_P.sum() == observed.get("right", 0)
        return [next(fresh) for _ in range(number)]  # each problem once

    def seen_go_on(model, rollouts, budget):
        calls.append("go_on")
        assert len(calls) < 60
        is_measured = rollouts[0].problem >= 60
        assert budget == (96 if is_measured else 24)
        assert {each.problem >= 60 for each in rollouts} == {is_measured}
        if not is_measured:
            begun = [each for each in rollouts if not each.response]
            assert len(begun) == (24 if calls[-2] == "draw" else 0)
            going = [each for each in rollouts if each.response]
            assert {id(each) for each in going} == {id(each) for each in unfinished}
        go_on(model, rollouts, budget)
        if not is_measured:
            unfinished[:] = [each for each in rollouts if not each.ended]

    def seen_observe(right_P, rollouts_P, problems_G, right_GK):
        calls.append("observe")
        observe(right_P, rollouts_P, problems_G, right_GK)
        observed.update(zip(problems_G.tolist(), right_GK, strict=True))
        observed.update(rollouts=rollouts_P.sum(), right=right_P.sum())

    def seen_update(model, rollouts, advantages_N):
        calls.append("update")
        assert all(each.ended for each in rollouts)
        places = sorted(range(len(rollouts)), key=lambda place: rollouts[place].problem)
        shuffled.append(places != list(range(len(rollouts))))
        rows = [rollouts[place] for place in places]
        assert [each.problem for each in rows[::4] for _ in range(4)] == [each.problem for each in rows]
        right_N = torch.tensor(
            [one_file.is_right(tokenizer.decode(each.response), answers[each.problem]) for each in rows]
        )
        assert right_N.view(-1, 4).sum(dim=1).tolist() == [int(observed[each.problem].sum()) for each in rows[::4]]
        rewards_N = right_N.float()
        if calls.count("update") > 2:
            rewards_N += 0.5 * length_reward(torch.tensor([len(each.response) for each in rows]), right_N, 4)
        torch.testing.assert_close(advantages_N[places], rewards_N - baseline(rewards_N, 4))
        drawn = 6 * calls.count("update")
        late.append(any(each.problem < drawn - 6 for each in rows))

    observed, late, shuffled = {}, [], []
    for function in (seen_draw, seen_go_on, seen_observe, seen_update):
        monkeypatch.setattr(one_file, function.__name__.removeprefix("seen_"), function)
    one_file.main(iterations=4)
    order = "".join(f"{call} " for call in calls)
    assert re.fullmatch(r"go_on (draw (go_on )+observe update ){4}go_on ", order), order
    assert any(late)
    assert any(shuffled)


def test_two_iterations_work_and_are_the_same_for_the_same_seed(one_file, monkeypatch, capsys):
    for name, value in {"PROBLEMS": 40, "HELD_OUT": 8, "NEW_GROUPS": 6, "K": 4, "LENGTH_WARMUP": 1}.items():
        monkeypatch.setattr(one_file, name, value)

    def run(seed):
        weights = one_file.main(iterations=2, seed=seed).state_dict()
        return capsys.readouterr().out, weights

    (printed, weights), (again, same), (other, _) = run(0), run(0), run(1)
    assert printed.count("iteration") == 2
    assert printed == again != other
    assert all(torch.equal(value, same[name]) for name, value in weights.items())


def test_a_rollout_in_segments_equals_one_in_one_piece(one_file, monkeypatch):
    monkeypatch.setattr(one_file, "MAX_TOKENS", 16)
    model = tiny.model(seed=1)
    with torch.no_grad():  # so sharp that sampling takes the most probable token
        model.lm_head.weight *= 1e8
        model.lm_head.weight[one_file.EOS] *= 2.5
    tokenizer = tiny.tiny_tokenizer()
    seen, generate = [], model.generate

    def seen_generate(ids_BT, attention_mask, **options):
        rows = zip(ids_BT, attention_mask.bool(), strict=True)
        seen[:] = [ids_T[mask_T].tolist() for ids_T, mask_T in rows]
        assert options["do_sample"]
        assert options["top_k"] == 0
        return generate(ids_BT, attention_mask=attention_mask, **options)

    monkeypatch.setattr(model, "generate", seen_generate)

    def written(budget):
        prompts = [prompt for prompt, _ in one_file.make_problems(24, random.Random(0))]
        rollouts = [one_file.Rollout(0, tokenizer(prompt)["input_ids"]) for prompt in prompts]
        rounds = 0
        while going := [each for each in rollouts if not each.ended]:
            before = [len(each.response) for each in going]
            starts = [each.prompt + each.response for each in going]
            one_file.go_on(model, going, budget)
            assert seen == starts  # no padding is looked at
            grown = [len(each.response) - old for each, old in zip(going, before, strict=True)]
            assert max(grown) <= budget
            rounds += 1
            assert rounds < 10
        return [each.response for each in rollouts], rounds

    whole, one = written(16)
    pieces, several = written(3)
    assert (one, several) == (1, 6)
    assert pieces == whole
    assert len({*map(tuple, whole)}) > 8
    assert 4 < sum(response[-1] == one_file.EOS for response in whole) < 24
