"""What callbacks are told of rollouts: those with a method `on_rollouts`, and those with `on_held_out`."""

from typing import Any

from k15_plugins.trainers.iteration import Iteration


def tell_of_rollouts(trainer: Any, now: Iteration) -> None:
    """Give the rollouts of an iteration to `on_rollouts(trainer, rollouts)` of callbacks, on the main process.

    Args:
        trainer: A `SampledGRPOTrainer`.
        now: The record of the iteration, complete.
    """
    listeners = _listeners(trainer, "on_rollouts")
    if not listeners:
        return
    verdicts, number = now.verdicts, len(now.verdicts.correct_N)
    weighted_NF = verdicts.rewards_NF * trainer.reward_weights.to(verdicts.rewards_NF.device)
    columns: dict[str, list[Any]] = {
        "problem": now.problems_N or [None] * number,
        "prompt": list(trainer._logs["prompt"])[-number:],
        "response": list(trainer._logs["completion"])[-number:],
        "tokens": verdicts.lengths_N.tolist(),
        "right": verdicts.correct_N.tolist(),
        "truncated": verdicts.truncated_N.tolist(),
        "reward": weighted_NF.nansum(dim=1).tolist(),
        "advantage": now.advantages_N.tolist(),
        "rewards": [dict(zip(trainer.reward_func_names, row, strict=True)) for row in verdicts.rewards_NF.tolist()],
        "stop": [
            "repetition" if repeats else "length" if truncated else "eos"
            for repeats, truncated in zip(verdicts.repeats_N.tolist(), verdicts.truncated_N.tolist(), strict=True)
        ],
        "segments": [[(now.number, tokens)] for tokens in verdicts.lengths_N.tolist()]
        if now.groups is None
        else [each.segments for each in now.trajectories()],
    }
    place = {"iteration": now.number, "step": trainer.state.global_step}
    rollouts = [place | row for row in _rows(columns)]
    for listener in listeners:
        listener.on_rollouts(trainer, rollouts)


def tell_of_held_out(trainer: Any, now: Iteration, inputs: list, prompts: list, completions: list) -> None:
    """Give a batch of an evaluation to `on_held_out(trainer, rollouts)` of callbacks: the main process's own rows.

    Args:
        trainer: A `SampledGRPOTrainer`.
        now: The record of the batch.
        inputs: Rows of the evaluation's data set; `answer` and `level` are told where they are there.
        prompts: The prompt of each row.
        completions: The response of each row.
    """
    listeners = _listeners(trainer, "on_held_out")
    if not listeners:
        return
    # The main process's rows come first in what was gathered.
    own = slice(len(inputs))
    columns = {
        "prompt": prompts,
        "response": completions,
        "tokens": now.verdicts.lengths_N[own].tolist(),
        "right": now.verdicts.correct_N[own].tolist(),
        "truncated": now.verdicts.truncated_N[own].tolist(),
    }
    rollouts = [
        row | {name: one[name] for name in ("answer", "level") if name in one}
        for row, one in zip(_rows(columns), inputs, strict=True)
    ]
    for listener in listeners:
        listener.on_held_out(trainer, rollouts)


def _listeners(trainer: Any, method: str) -> list[Any]:
    if not trainer.accelerator.is_main_process:
        return []
    return [each for each in trainer.callback_handler.callbacks if hasattr(each, method)]


def _rows(columns: dict[str, list]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
