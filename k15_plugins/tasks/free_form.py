"""Free-form answers to one-digit sums, and their judgements worked out in words: what a reward model can be tried on.

An answer here is a sum that has not been worked out: `7 - 4 + 2` to a problem whose answer is 5. To judge it takes
steps, each of them one that the embedded model knows, and at the end one more, which compares: the value less the
reference. So only problems with the answers 0 to 9 are taken, for the model subtracts one digit at a time.

The judgement of `7 - 4 + 2` by the reference 5:
`7 - 4 is 3 . 3 + 2 is 5 . 5 - 5 is 0 . { "value" : 5 , "correct" : true }`
"""

import random
import re

from datasets import Dataset

from k15_plugins.samples import Sample, SampledProblem

TEMPLATE = "{question} reference {reference} response {response} judge"
"""What the judge reads, in words that `models.tiny_reasoner` has, or is given by `WORDS`."""

WORDS = (
    *("reference", "response", "judge", "unfinished", "{", "}", ":", '"value"', '"correct"', "true", "false"),
    *("Solution", "Let's", "solve", "this", "step", "by"),
)
"""The words of judgements that the embedded model's tokenizer lacks."""

_NEAR_MISSES = (-3, -2, -1, 1, 2, 3)
_COMPLETE = re.compile(r"-?\d+( [+-] \d+)*")
_UNFINISHED = "unfinished"


def free_form_samples(problems: Dataset, num_samples: int = 16, seed: int = 0) -> list[SampledProblem]:
    """Write answers to sums as other sums, half of them right and half near misses, in the form of samples.

    No beginning of an answer has the right value, so that a part of it is wrong for certain.

    Args:
        problems: Rows with `prompt` and `answer`; only those with an answer from 0 to 9 are taken.
        num_samples: Answers to a problem.
        seed: Seed of the answers.

    Returns:
        The problems that were taken.
    """
    rng = random.Random(seed)
    return [
        SampledProblem(
            problem=row,
            prompt=prompt,
            prompt_ids=[],
            samples=[
                Sample(
                    _sum_with(int(answer) + (0 if right else rng.choice(_NEAR_MISSES)), int(answer), rng), [], right
                )
                for right in (index % 2 == 0 for index in range(num_samples))
            ],
        )
        for row, (prompt, answer) in enumerate(zip(problems["prompt"], problems["answer"], strict=True))
        if re.fullmatch(r"\d", answer)
    ]


def write_judgement(question: str, reference: str, response: str) -> str:
    """Work out the judgement of a free-form answer, with its verdict at the end.

    Args:
        question: Not needed here.
        reference: The right answer, one digit.
        response: A sum, or what is no answer.

    Returns:
        Words separated by single spaces, as `rewards.judgement.read_verdict` reads them.
    """
    if not _COMPLETE.fullmatch(response):
        return f'{_UNFINISHED} {{ "correct" : false }}'
    first, *rest = response.split()
    value, words = int(first), []
    for sign, term in zip([*rest[::2], "-"], [*rest[1::2], reference], strict=True):
        result = value + int(term) if sign == "+" else value - int(term)
        words.append(f"{value} {sign} {term} is {result} .")
        before, value = value, result
    verdict = "true" if value == 0 else "false"
    return f'{" ".join(words)} {{ "value" : {before} , "correct" : {verdict} }}'


def _sum_with(value: int, reference: int, rng: random.Random) -> str:
    """Write a sum of three to five digits with a value, of which no beginning has the value of the reference."""
    while True:
        terms = [rng.randint(0, 9), *(rng.choice((-1, 1)) * rng.randint(0, 9) for _ in range(rng.randint(1, 3)))]
        last = value - sum(terms)
        beginnings = [sum(terms[: length + 1]) for length in range(len(terms))]
        if abs(last) <= 9 and reference not in beginnings:
            signed = [f"{'-' if term < 0 else '+'} {abs(term)}" for term in [*terms[1:], last]]
            return " ".join([str(terms[0]), *signed])
