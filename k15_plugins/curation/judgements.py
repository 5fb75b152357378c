"""Balanced examples for a reward model: right and wrong responses to the same problems (paper 2.3.5).

Each problem gives as many right responses as wrong ones, so that a judge cannot gain by knowing how hard the problem
is. Some wrong ones are replaced by openers: texts that begin an answer and give none, which judges are known to take
for right ones ("One Token to Fool LLM-as-a-Judge", arXiv 2507.08794).
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from k15_plugins.tasks.problems import is_held_out

OPENERS = (":", ".", ",", "Solution", "Let's solve this step by step")


class Reason(StrEnum):
    """Why a response is in no pair."""

    EMPTY = "empty, which the served judges refuse unread"
    DUPLICATE = "same as another response to the problem, but for case, white space and the last sign"
    CONTRADICTION = "judged right and wrong"
    ONLY_RIGHT = "its problem has no wrong response"
    ONLY_WRONG = "its problem has no right response"
    SURPLUS = "its problem has more of its verdict than pairs"
    OPENER = "an opener took its place"
    HELD_OUT_SURPLUS = "enough pairs are held out"


@dataclass(frozen=True)
class Judgement:
    """A response and what is known of it.

    Attributes:
        question: The problem.
        reference: Its right answer.
        response: What a model answered.
        correct: Whether that is right.
        kind: `sampled`, or for an opener `phrase` (one of `OPENERS`) or `cut` (the beginning of a right response).
    """

    question: str
    reference: str
    response: str
    correct: bool
    kind: str = "sampled"


@dataclass(frozen=True)
class Pair:
    """A right and a wrong response to one problem."""

    right: Judgement
    wrong: Judgement


@dataclass(frozen=True)
class Dropped:
    """A response that is in no pair, and why."""

    judgement: Judgement
    reason: Reason


@dataclass(frozen=True)
class Examples:
    """What `balance` returns.

    Attributes:
        train: Pairs to learn from.
        held_out: Pairs to measure on; none of their questions is among those of `train`.
        dropped: All responses that are in no pair.
    """

    train: list[Pair]
    held_out: list[Pair]
    dropped: list[Dropped]


@dataclass(frozen=True)
class Rules:
    """How examples are chosen.

    Args:
        pairs_per_problem: Pairs that a problem gives at most.
        opener_share: Probability that a pair's wrong response is replaced by an opener.
        held_out: Share of the questions that are held out, by a hash of their text.
        held_out_pairs: Pairs that are held out at most.

    Raises:
        ValueError: If a number is out of range.
    """

    pairs_per_problem: int = 4
    opener_share: float = 0.1
    held_out: float = 0.1
    held_out_pairs: int = 500

    def __post_init__(self) -> None:
        for name in ("pairs_per_problem", "held_out_pairs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}; take 4, say.")
        if not 0 <= self.opener_share < 1:
            raise ValueError(f"opener_share must be from 0 to below 1, got {self.opener_share}; take 0.1, say.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be between 0 and 1, got {self.held_out}; take 0.1, say.")


def balance(judgements: Sequence[Judgement], rules: Rules, seed: int = 0) -> Examples:
    """Choose pairs of a right and a wrong response to the same problem.

    The same judgements, rules and seed give the same pairs, and no seed moves a question to the other side.

    Args:
        judgements: Any number of responses to any number of problems.
        rules: How to choose.
        seed: Seed of the choice, of the openers, and of the order of the pairs.

    Returns:
        The pairs in random order. Every judgement that was given is in one pair, or among the dropped.
    """
    rng = random.Random(seed)
    problems: dict[tuple[str, str], list[Judgement]] = {}
    for each in judgements:
        problems.setdefault((each.question, each.reference), []).append(each)
    train: list[Pair] = []
    held_out: list[Pair] = []
    dropped: list[Dropped] = []
    for (question, _), responses in problems.items():
        pairs = _pairs(_distinct(responses, dropped), rules, rng, dropped)
        (held_out if is_held_out(question, rules.held_out) else train).extend(pairs)
    rng.shuffle(train)
    rng.shuffle(held_out)
    for pair in held_out[rules.held_out_pairs :]:
        own = [each for each in (pair.right, pair.wrong) if each.kind == "sampled"]
        dropped += [Dropped(each, Reason.HELD_OUT_SURPLUS) for each in own]
    return Examples(train, held_out[: rules.held_out_pairs], dropped)


def _distinct(responses: Iterable[Judgement], dropped: list[Dropped]) -> list[Judgement]:
    alike: dict[str, list[Judgement]] = {}
    for each in responses:
        if each.response.strip():
            alike.setdefault(_gist(each.response), []).append(each)
        else:
            dropped.append(Dropped(each, Reason.EMPTY))
    kept = []
    for first, *others in alike.values():
        if any(each.correct != first.correct for each in others):
            dropped += [Dropped(each, Reason.CONTRADICTION) for each in (first, *others)]
        else:
            kept.append(first)
            dropped += [Dropped(each, Reason.DUPLICATE) for each in others]
    return kept


def _gist(response: str) -> str:
    return " ".join(response.casefold().split()).rstrip(".!?,;: ") or response.strip()


def _pairs(responses: list[Judgement], rules: Rules, rng: random.Random, dropped: list[Dropped]) -> list[Pair]:
    sides = {correct: [each for each in responses if each.correct is correct] for correct in (True, False)}
    if not (sides[True] and sides[False]):
        reason = Reason.ONLY_RIGHT if sides[True] else Reason.ONLY_WRONG
        dropped += [Dropped(each, reason) for each in responses]
        return []
    number = min(rules.pairs_per_problem, *map(len, sides.values()))
    for side in sides.values():
        rng.shuffle(side)
        dropped += [Dropped(each, Reason.SURPLUS) for each in side[number:]]
    pairs = []
    for right, wrong in zip(sides[True][:number], sides[False][:number], strict=True):
        if rng.random() < rules.opener_share:
            dropped.append(Dropped(wrong, Reason.OPENER))
            wrong = _opener(right, rng)
        pairs.append(Pair(right, wrong))
    return pairs


def _opener(right: Judgement, rng: random.Random) -> Judgement:
    """Write a text that gives no answer: a phrase, or the beginning of a right response."""
    words = right.response.split()
    length = rng.randint(1, max(1, len(words) // 2))
    cut = " ".join(words[:length])
    # A beginning that holds the answer may be right.
    if rng.random() < 0.5 and length < len(words) and right.reference.strip() not in cut:
        return Judgement(right.question, right.reference, cut, False, "cut")
    return Judgement(right.question, right.reference, rng.choice(OPENERS), False, "phrase")
