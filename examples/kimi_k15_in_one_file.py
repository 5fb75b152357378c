"""Kimi k1.5's reinforcement learning in one file, to be read from top to bottom (https://arxiv.org/abs/2501.12599).

    python examples/kimi_k15_in_one_file.py

A small language model, which writes sums out step by step and is often wrong, learns to be right more often, in about
two minutes on one core. Only torch and transformers are needed. The numbers in brackets are sections of the paper.

Letters in names tell shapes: P problems, G groups (one problem each), K rollouts in a group, N rollouts in all,
B rows, T tokens, V vocabulary. Log-probabilities are in nats.
"""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = Path(__file__).parents[1] / "k15_plugins" / "assets" / "tiny_reasoner"
PAD, EOS, DIGITS = 0, 1, "0123456789"
PROBLEMS, HELD_OUT = 2000, 512  # to train on, and to measure on
ITERATIONS, NEW_GROUPS, K = 40, 16, 8  # problems drawn in an iteration, and rollouts of each
MAX_TOKENS, BUDGET = 96, 32  # longest response, and what a rollout may grow by in one iteration
UPDATES, LEARNING_RATE, MAX_GRAD_NORM = 4, 2e-4, 1.0  # steps of AdamW on the rollouts of an iteration
TAU = 0.3  # how strongly an update is held to the policy that begins the iteration
LENGTH_WEIGHT, LENGTH_WARMUP = 0.5, 30  # of the length reward, and iterations without it
DECAY = 0.6  # what an older verdict on a problem still counts when a new one comes


@dataclass
class Rollout:
    """A response in the making, as tokens; the last one is EOS unless it was cut off."""

    problem: int
    prompt: list[int]
    response: list[int] = field(default_factory=list)
    ended: bool = False


def make_problems(number: int, rng: random.Random) -> list[tuple[str, int]]:
    """Make different sums of 3 to 6 one-digit numbers, such as `4 + 3 - 2 =`, each with its answer."""
    answers: dict[str, int] = {}
    while len(answers) < number:
        later = [rng.choice("+-") + rng.choice(DIGITS) for _ in range(rng.randint(2, 5))]
        terms = [rng.choice(DIGITS), *later]
        answers[" ".join("".join(terms) + "=")] = sum(map(int, terms))
    return list(answers.items())


def draw(right_P: Tensor, rollouts_P: Tensor, number: int) -> list[int]:
    """Draw different problems, each with probability proportional to 1 - s_i, s_i its success rate (2.3.4)."""
    s_P = (right_P + 0.5) / (rollouts_P + 1)  # half a right and half a wrong rollout more keep it from 0 and 1
    return torch.multinomial(1 - s_P, number).tolist()


def observe(right_P: Tensor, rollouts_P: Tensor, problems_G: Tensor, right_GK: Tensor) -> None:
    """Count right answers, in place; older counts fade, since the policy that made them is gone (2.3.4)."""
    for counts_P, new_GK in ((right_P, right_GK.float()), (rollouts_P, torch.ones(right_GK.shape))):
        counts_P[problems_G] *= DECAY  # once, even where a problem stands there twice
        counts_P.index_add_(0, problems_G, new_GK.sum(dim=1))


def padded(rows: list[list[int]], side: str = "right") -> Tensor:
    """Rows of unequal length as one tensor (B, T)."""
    return pad_sequence([torch.tensor(row) for row in rows], True, PAD, side)


def go_on(model, rollouts: list[Rollout], budget: int) -> None:
    """Let each rollout grow by one segment, of at most so many tokens, under the policy of now (2.6)."""
    starts = [each.prompt + each.response for each in rollouts]
    ids_BT, mask_BT = padded(starts, "left"), padded([[1] * len(start) for start in starts], "left")
    sampling = {"do_sample": True, "top_k": 0, "eos_token_id": EOS, "pad_token_id": PAD}
    longer_BT = model.generate(ids_BT, attention_mask=mask_BT, max_new_tokens=budget, **sampling)
    for each, new in zip(rollouts, longer_BT[:, ids_BT.size(1) :].tolist(), strict=True):
        new = new[: new.index(EOS) + 1] if EOS in new else new
        each.response = (each.response + new)[:MAX_TOKENS]
        each.ended = each.response[-1] == EOS or len(each.response) == MAX_TOKENS


def is_right(text: str, answer: int) -> bool:
    """The final reward: the response ends, and ends in the right number (2.3.1)."""
    match = re.search(r"answer (-?\d+) <eos>$", text)
    return match is not None and int(match[1]) == answer


def length_reward(lengths_GK: Tensor, right_GK: Tensor) -> Tensor:
    """From 0.5 for the shortest of a group to -0.5 for the longest; a wrong response can only lose by it (2.3.3)."""
    shortest_G1, longest_G1 = lengths_GK.amin(1, keepdim=True), lengths_GK.amax(1, keepdim=True)
    lambda_GK = 0.5 - (lengths_GK - shortest_G1) / (longest_G1 - shortest_G1).clamp(min=1)
    reward_GK = torch.where(right_GK, lambda_GK, lambda_GK.clamp(max=0))
    return torch.where(longest_G1 > shortest_G1, reward_GK, 0.0)


def advantages(lengths_GK: Tensor, right_GK: Tensor, iteration: int) -> Tensor:
    """A = r - tau log Z, which the paper estimates by the mean reward of the group (2.3.2)."""
    rewards_GK = right_GK.float()
    if iteration >= LENGTH_WARMUP:
        rewards_GK += LENGTH_WEIGHT * length_reward(lengths_GK, right_GK)
    return rewards_GK - rewards_GK.mean(dim=1, keepdim=True)


def logps(model, rollouts: list[Rollout]) -> Tensor:
    """log pi(y|x) of whole responses, (B,). Padding on the right is never looked at."""
    ids_BT = padded([each.prompt + each.response for each in rollouts])
    mask_BT = padded([[0] * (len(each.prompt) - 1) + [1] * len(each.response) for each in rollouts])
    logps_BTV = model(ids_BT).logits[:, :-1].log_softmax(dim=-1)  # of the token after each
    return (logps_BTV.gather(2, ids_BT[:, 1:, None]).squeeze(2) * mask_BT).sum(dim=1)


def surrogate(logps_B: Tensor, ref_logps_B: Tensor, advantages_B: Tensor) -> Tensor:
    """-A rho + tau/2 rho^2, which descends equation (3), with rho = log pi(y|x) - log pi_ref(y|x) (2.3.2)."""
    rho_B = logps_B - ref_logps_B
    return -advantages_B * rho_B + TAU / 2 * rho_B**2


def update(model, rollouts: list[Rollout], advantages_N: Tensor) -> None:
    """Improve the policy on the rollouts of an iteration (2.3.2)."""
    with torch.no_grad():
        ref_logps_N = logps(model, rollouts)  # the reference policy is the one that begins the iteration
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.0)  # its state begins anew, too
    for rows_B in torch.arange(len(rollouts)).chunk(UPDATES):
        logps_B = logps(model, [rollouts[row] for row in rows_B])
        optimizer.zero_grad()
        surrogate(logps_B, ref_logps_N[rows_B], advantages_N[rows_B]).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()


def main(iterations: int = ITERATIONS, seed: int = 0):
    """Train, print a line an iteration, and return the model."""
    torch.manual_seed(seed)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(MODEL), AutoTokenizer.from_pretrained(MODEL)
    texts, answers = zip(*make_problems(PROBLEMS + HELD_OUT, random.Random(0)), strict=True)
    prompts = tokenizer(list(texts))["input_ids"]

    def verdicts(rollouts: list[Rollout]) -> Tensor:
        return torch.tensor([is_right(tokenizer.decode(each.response), answers[each.problem]) for each in rollouts])

    def accuracy() -> float:
        rollouts = [Rollout(i, prompts[i]) for i in range(PROBLEMS, PROBLEMS + HELD_OUT)]
        go_on(model, rollouts, MAX_TOKENS)
        return verdicts(rollouts).float().mean().item()

    print(f"accuracy on held-out problems before: {accuracy():.3f}")
    right_P, rollouts_P = torch.zeros(2, PROBLEMS)
    waiting: list[list[Rollout]] = []  # groups with rollouts that are not finished
    for iteration in range(iterations):
        # New rollouts begin and old ones go on; a group is ready when all its rollouts have ended.
        waiting += [[Rollout(i, prompts[i]) for _ in range(K)] for i in draw(right_P, rollouts_P, NEW_GROUPS)]
        ready: list[list[Rollout]] = []
        while not ready:
            go_on(model, [each for group in waiting for each in group if not each.ended], BUDGET)
            ready = [group for group in waiting if all(each.ended for each in group)]
            waiting = [group for group in waiting if not all(each.ended for each in group)]
        rollouts = [each for group in ready for each in group]
        right_GK = verdicts(rollouts).view(-1, K)
        lengths_GK = torch.tensor([len(each.response) for each in rollouts]).view(-1, K)
        observe(right_P, rollouts_P, torch.tensor([group[0].problem for group in ready]), right_GK)
        order_N = torch.randperm(len(rollouts))
        update(model, [rollouts[i] for i in order_N], advantages(lengths_GK, right_GK, iteration).view(-1)[order_N])
        figures = f"accuracy {right_GK.float().mean():.3f}, {lengths_GK.float().mean():.1f} tokens"
        print(f"iteration {iteration}: {len(ready)} groups ready, {len(waiting)} waiting, {figures}", flush=True)
    print(f"accuracy on held-out problems after: {accuracy():.3f}")
    return model


if __name__ == "__main__":
    main()
