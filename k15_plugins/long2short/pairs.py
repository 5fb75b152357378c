"""Preference pairs for long2short DPO: the shortest right response against longer ones (paper 2.4)."""

import math
import random
from typing import Any

from k15_plugins.long2short.shortest import shortest_correct
from k15_plugins.numbers import check_numbers, check_whole_numbers
from k15_plugins.samples import Sample, SampledProblem, check_problems

WRONG, LONG = "wrong", "long"


def preference_pairs(
    problems: list[SampledProblem],
    *,
    ratio: float = 1.5,
    pairs_per_problem: int = 2,
    wrong_share: float | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Pair the shortest right response to each problem with longer ones: wrong and longer, or right and much longer.

    Chosen is the shortest right response that was not cut off; of equals the one sampled first. Rejected are, of kind
    `"wrong"`, wrong responses with more tokens than it, and of kind `"long"`, right ones with at least `ratio` times
    its tokens. A wrong response that was cut off can be rejected, as it stands, without an end.

    The paper does not say how many pairs a problem gives. Here a problem gives at most `pairs_per_problem`, the kinds
    in turn and `"wrong"` first, in each kind the longest first (of equals the one sampled first), so that neither hard
    problems nor one kind fill the set. Two responses of the same tokens count once.

    Args:
        problems: Problems with their samples.
        ratio: How many times as long a rejected right response is at least; above 1.
        pairs_per_problem: Pairs that a problem gives at most.
        wrong_share: Share of kind `"wrong"` in the whole set, reached as nearly as possible by
            leaving out pairs of the other kind at random; by default they stay as they come.
        seed: Seed of what is left out.

    Returns:
        A row a pair: `prompt`, `chosen`, `rejected` (text, or messages as the prompt is), `prompt_ids`,
        `chosen_ids`, `rejected_ids` (tokens as they were sampled), `kind`, `problem`, `chosen_tokens` and
        `rejected_tokens`.

    Raises:
        ValueError: If there is no problem, an argument is out of its range, or `wrong_share` needs a kind of which
            there is no pair.
    """
    check_problems(problems)
    check_numbers(ratio=ratio, **({} if wrong_share is None else {"wrong_share": wrong_share}))
    check_whole_numbers(pairs_per_problem=pairs_per_problem)
    if not 1 < ratio < math.inf:
        raise ValueError(f"ratio must be above 1, for what is rejected is longer, got {ratio}; set 1.5, as the paper.")
    if pairs_per_problem < 1:
        raise ValueError(f"pairs_per_problem must be 1 or more, got {pairs_per_problem}; raise it.")
    if wrong_share is not None and not 0 <= wrong_share <= 1:
        raise ValueError(f"wrong_share must be a share from 0 to 1, or None, got {wrong_share}; set 0.5, say.")
    pairs = [
        _row(problem, chosen, rejected, kind)
        for problem in problems
        if (chosen := shortest_correct(problem.samples)) is not None
        for kind, rejected in _rejected(problem.samples, chosen, ratio)[:pairs_per_problem]
    ]
    return pairs if wrong_share is None else _balanced(pairs, wrong_share, random.Random(seed))


def _rejected(samples: list[Sample], chosen: Sample, ratio: float) -> list[tuple[str, Sample]]:
    distinct: dict[tuple[int, ...], Sample] = {}
    for sample in samples:
        distinct.setdefault(tuple(sample.ids), sample)
    # In floats 1.1 * 50 is more than 55.
    long_tokens = ratio * chosen.tokens - 1e-9
    longest_first = sorted(distinct.values(), key=lambda sample: -sample.tokens)
    wrong = [(WRONG, sample) for sample in longest_first if not sample.right and sample.tokens > chosen.tokens]
    long = [(LONG, sample) for sample in longest_first if sample.right and sample.tokens >= long_tokens]
    both = min(len(wrong), len(long))
    in_turn = [pair for pairs in zip(wrong, long, strict=False) for pair in pairs]
    return in_turn + wrong[both:] + long[both:]


def _balanced(pairs: list[dict[str, Any]], wrong_share: float, rng: random.Random) -> list[dict[str, Any]]:
    """Leave out as few pairs as the share allows."""
    places: dict[str, list[int]] = {WRONG: [], LONG: []}
    for place, pair in enumerate(pairs):
        places[pair["kind"]].append(place)
    wrong, long = len(places[WRONG]), len(places[LONG])
    if pairs and ((wrong_share > 0 and not wrong) or (wrong_share < 1 and not long)):
        needed = f"kind {LONG}" if wrong_share == 0 else f"kind {WRONG}" if wrong_share == 1 else "both kinds"
        raise ValueError(
            f"wrong_share={wrong_share} needs pairs of {needed}, and the samples give {wrong} {WRONG} and "
            f"{long} {LONG}; sample more, or leave wrong_share at null."
        )
    if wrong_share * (wrong + long) < wrong:
        wrong = round(long * wrong_share / (1 - wrong_share))
    elif wrong_share > 0:
        long = round(wrong * (1 - wrong_share) / wrong_share)
    kept = {*rng.sample(places[WRONG], wrong), *rng.sample(places[LONG], long)}
    return [pair for place, pair in enumerate(pairs) if place in kept]


def _row(problem: SampledProblem, chosen: Sample, rejected: Sample, kind: str) -> dict[str, Any]:
    conversational = not isinstance(problem.prompt, str)

    def as_prompt(text: str) -> Any:
        return [{"role": "assistant", "content": text}] if conversational else text

    return {
        "prompt": problem.prompt,
        "chosen": as_prompt(chosen.response),
        "rejected": as_prompt(rejected.response),
        "prompt_ids": problem.prompt_ids,
        "chosen_ids": chosen.ids,
        "rejected_ids": rejected.ids,
        "kind": kind,
        "problem": problem.problem,
        "chosen_tokens": chosen.tokens,
        "rejected_tokens": rejected.tokens,
    }
