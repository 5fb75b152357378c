"""Shortest rejection sampling: of several responses to a problem, the shortest right one (paper 2.4)."""

from typing import Any

from k15_plugins.samples import Sample, SampledProblem, check_problems


def shortest_correct(samples: list[Sample]) -> Sample | None:
    """Return the right response with the fewest tokens, of equals the one sampled first; None if none is right.

    A response that was cut off is never taken, whatever its verdict: a model must not learn to stop there.

    Args:
        samples: Responses to one problem.
    """
    right = [sample for sample in samples if sample.right and not sample.truncated]
    return min(right, key=lambda sample: sample.tokens, default=None)


def shortest_rows(problems: list[SampledProblem]) -> tuple[list[dict[str, Any]], list[int]]:
    """Turn the shortest right response to each problem into rows for TRL's `SFTTrainer`.

    The rows hold the tokens exactly as they were sampled, and the loss is on the response alone. Set the trainer's
    `max_length=None`: its default would cut what is longer than 1,024 tokens.

    Args:
        problems: Problems with their samples.

    Returns:
        Rows with `input_ids`, and `labels` that are -100 on the prompt; and the
        problems without a right response, which have no row.

    Raises:
        ValueError: If there is no problem.
    """
    check_problems(problems)
    rows, unsolved = [], []
    for problem in problems:
        chosen = shortest_correct(problem.samples)
        if chosen is None:
            unsolved.append(problem.problem)
        else:
            prompt, ids = problem.prompt_ids, chosen.ids
            rows.append({"input_ids": prompt + ids, "labels": [-100] * len(prompt) + ids})
    return rows, unsolved
