"""Kimi k1.5's reinforcement learning in one file, to be read from top to bottom (https://arxiv.org/abs/2501.12599).

    python examples/kimi_k15_in_one_file.py

A small language model, which writes sums out step by step and is often wrong, learns to be right more often, in about
two minutes on one core. Only torch and transformers are needed. The numbers in brackets are sections of the paper.

Letters in names tell shapes: P problems, G groups (one problem each), K rollouts in a group, N rollouts in all,
B rows, T tokens. log-probabilities are in nats.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = Path(__file__).parents[1] / "k15_plugins" / "assets" / "tiny_reasoner"
ITERATIONS = 40
PROBLEMS, HELD_OUT = 2000, 512  # to train on, and to measure on
NEW_GROUPS, K = 16, 8  # problems drawn in an iteration, rollouts of each
MAX_TOKENS, BUDGET = 96, 32  # longest response, and what a rollout may grow by in one iteration
UPDATES, LEARNING_RATE, MAX_GRAD_NORM = 4, 2e-4, 1.0  # steps of AdamW on the rollouts of an iteration
TAU = 0.3  # how strongly an update is held to the policy that begins the iteration
LENGTH_WEIGHT, LENGTH_WARMUP = 0.5, 30  # of the length reward, and iterations without it
DECAY = 0.6  # what an older verdict on a problem still counts when a new one comes
PAD, EOS = 0, 1
DIGITS = "0123456789"


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
        text = rng.choice(DIGITS) + "".join(
            f" {rng.choice('+-')} {rng.choice(DIGITS)}" for _ in range(rng.randint(2, 5))
        )
        answers[f"{text} ="] = sum(int(term) for term in text.replace("+ ", "").replace("- ", "-").split())
    return list(answers.items())


def success_rates(right_P: Tensor, rollouts_P: Tensor) -> Tensor:
    """s_i of each problem; half a right and half a wrong rollout to begin with keep it from 0 and 1 (2.3.4)."""
    return (right_P + 0.5) / (rollouts_P + 1)


def draw(right_P: Tensor, rollouts_P: Tensor, number: int) -> list[int]:
    """Draw different problems, each with probability proportional to 1 - s_i (2.3.4)."""
    return torch.multinomial(1 - success_rates(right_P, rollouts_P), number).tolist()


def observe(right_P: Tensor, rollouts_P: Tensor, problems_G: Tensor, right_GK: Tensor) -> None:
    """Count right answers, in place; older counts fade, since the policy that made them is gone (2.3.4)."""
    for counts_P, new_GK in ((right_P, right_GK.float()), (rollouts_P, torch.ones_like(right_GK, dtype=torch.float))):
        counts_P[problems_G] *= DECAY  # once, even where a problem stands there twice
        counts_P.index_add_(0, problems_G, new_GK.sum(dim=1))


def padded(rows: Iterable[list[int]], side: str = "right", value: int = PAD) -> Tensor:
    """Rows of unequal length as one tensor (B, T)."""
    return pad_sequence([torch.tensor(row) for row in rows], True, value, side)


@torch.no_grad()
def go_on(model, rollouts: list[Rollout], budget: int) -> None:
    """Let each rollout grow by one segment, of at most so many tokens, under the policy of now (2.6)."""
    starts = [each.prompt + each.response for each in rollouts]
    ids_BT = padded(starts, side="left")
    mask_BT = padded(([1] * len(start) for start in starts), side="left", value=0)
    longer_BT = model.generate(
        ids_BT,
        attention_mask=mask_BT,
        max_new_tokens=budget,
        do_sample=True,
        top_k=0,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
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


def advantages(rewards_GK: Tensor) -> Tensor:
    """A = r - tau log Z, which the paper estimates by the mean reward of the group (2.3.2)."""
    return rewards_GK - rewards_GK.mean(dim=1, keepdim=True)


def tokens_of(rollouts: list[Rollout]) -> tuple[Tensor, Tensor]:
    """Tokens of prompts and responses (N, T), and 1 where `logps` is that of a response (N, T - 1)."""
    ids_NT = padded(each.prompt + each.response for each in rollouts)
    return ids_NT, padded([0] * (len(each.prompt) - 1) + [1] * len(each.response) for each in rollouts)


def logps(model, ids_BT: Tensor) -> Tensor:
    """log pi of each token but the first, given all before it, (B, T - 1). Padding on the right is never looked at."""
    logps_BTV = model(ids_BT).logits[:, :-1].log_softmax(dim=-1)
    return logps_BTV.gather(2, ids_BT[:, 1:, None]).squeeze(2)


def surrogate(logps_BT: Tensor, ref_logps_BT: Tensor, mask_BT: Tensor, advantages_B: Tensor) -> tuple[Tensor, Tensor]:
    """-A rho + tau/2 rho^2, which descends equation (3), and rho = log pi - log pi_ref of whole responses (2.3.2)."""
    rho_B = ((logps_BT - ref_logps_BT) * mask_BT).sum(dim=1)
    return -advantages_B * rho_B + TAU / 2 * rho_B**2, rho_B


def update(model, rollouts: list[Rollout], advantages_N: Tensor) -> float:
    """Improve the policy on the rollouts of an iteration; return the mean |rho| of its last update (2.3.2)."""
    ids_NT, mask_NT = tokens_of(rollouts)
    with torch.no_grad():
        ref_logps_NT = logps(model, ids_NT)  # the reference policy is the one that begins the iteration
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.0)  # its state begins anew, too
    for rows_B in torch.arange(len(rollouts)).tensor_split(UPDATES):
        loss_B, rho_B = surrogate(
            logps(model, ids_NT[rows_B]), ref_logps_NT[rows_B], mask_NT[rows_B], advantages_N[rows_B]
        )
        optimizer.zero_grad()
        (loss_B.sum() / (len(rollouts) / UPDATES)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
    return rho_B.abs().mean().item()


def accuracy(model, tokenizer, problems: list[tuple[str, int]]) -> float:
    """Share of right answers to problems that are not trained on, one rollout each."""
    rollouts = [Rollout(i, tokenizer(prompt)["input_ids"]) for i, (prompt, _) in enumerate(problems)]
    go_on(model, rollouts, MAX_TOKENS)
    return sum(is_right(tokenizer.decode(each.response), problems[each.problem][1]) for each in rollouts) / len(
        problems
    )


def main(iterations: int = ITERATIONS, seed: int = 0):
    """Train, print a line an iteration, and return the model."""
    torch.manual_seed(seed)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(MODEL), AutoTokenizer.from_pretrained(MODEL)
    problems = make_problems(PROBLEMS + HELD_OUT, random.Random(0))
    problems, held_out = problems[:PROBLEMS], problems[PROBLEMS:]
    right_P, rollouts_P = torch.zeros(2, PROBLEMS)
    waiting: list[list[Rollout]] = []  # groups with rollouts that are not finished
    print(f"accuracy on held-out problems before: {accuracy(model, tokenizer, held_out):.3f}")

    for iteration in range(iterations):
        # Problems, rollouts: new ones begin, old ones go on; a group is ready when all its rollouts have ended.
        new = draw(right_P, rollouts_P, NEW_GROUPS)
        waiting += [[Rollout(i, tokenizer(problems[i][0])["input_ids"]) for _ in range(K)] for i in new]
        groups: list[list[Rollout]] = []
        while not groups:
            go_on(model, [each for group in waiting for each in group if not each.ended], BUDGET)
            groups = [group for group in waiting if all(each.ended for each in group)]
            waiting = [group for group in waiting if not all(each.ended for each in group)]

        # Rewards, advantages.
        rollouts = [each for group in groups for each in group]
        right_N = [is_right(tokenizer.decode(each.response), problems[each.problem][1]) for each in rollouts]
        right_GK = torch.tensor(right_N).view(-1, K)
        lengths_GK = torch.tensor([len(each.response) for each in rollouts]).view(-1, K)
        observe(right_P, rollouts_P, torch.tensor([group[0].problem for group in groups]), right_GK)
        rewards_GK = right_GK.float()
        if iteration >= LENGTH_WARMUP:
            rewards_GK = rewards_GK + LENGTH_WEIGHT * length_reward(lengths_GK, right_GK)
        advantages_N = advantages(rewards_GK).view(-1)

        # Updates, on the rollouts in random order.
        order_N = torch.randperm(len(rollouts))
        rho = update(model, [rollouts[i] for i in order_N], advantages_N[order_N])
        print(
            f"iteration {iteration:3d}  {len(groups):2d} groups ready, {len(waiting):2d} waiting"
            f"  accuracy {right_GK.float().mean():.3f}  tokens {lengths_GK.float().mean():5.1f}  |rho| {rho:.3f}",
            flush=True,
        )

    print(f"accuracy on held-out problems after: {accuracy(model, tokenizer, held_out):.3f}")
    return model


if __name__ == "__main__":
    main()
