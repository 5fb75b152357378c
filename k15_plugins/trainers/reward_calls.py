"""Reward functions as they are called in training: what goes wrong is told with function, problem and response."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl.trainer.utils import is_async_callable

logger = logging.getLogger(__name__)

_LARGEST = torch.finfo(torch.float32).max  # TRL keeps rewards in this type
_MOST_WARNINGS = 10  # of a function


class RewardCalls:
    """Watches over the calls of reward functions in a process, and notes which rows got no finite reward.

    A reward that is not finite (infinite, NaN, or too large for float32) is named in a warning, one a call and ten a
    function at most. NaN is not TRL's way to say that there is no verdict, which is None, but of a computation that
    went wrong. A process reward has to lie in [0, 1], and anything else ends the training.

    Args:
        process_reward: Name of the function that scores steps, or None.
    """

    def __init__(self, process_reward: str | None = None) -> None:
        self._process_reward = process_reward
        self._rows: set[int] = set()
        self._problems: Sequence[int] | None = None
        self._warnings: Counter[str] = Counter()

    def watched(
        self, reward_funcs: Sequence[Any], names: Sequence[str], problems: Sequence[int] | None = None
    ) -> list[Any]:
        """Return reward functions whose results are checked; models stay as they are.

        Args:
            reward_funcs: Functions and models, as `GRPOTrainer.reward_funcs`.
            names: Of them.
            problems: Row of the data set that each row of the call is about; None if nobody knows.
        """
        self._rows, self._problems = set(), problems
        return [
            function if isinstance(function, torch.nn.Module) else self._watched(function, name)
            for function, name in zip(reward_funcs, names, strict=True)
        ]

    def see_model(
        self, rewards: Sequence[float], name: str, prompts: Sequence[Any], completions: Sequence[Any]
    ) -> None:
        """Take in the rewards of a model, which TRL calls.

        Args:
            rewards: Of this process's rows.
            name: Of the model.
            prompts: Of the rows.
            completions: The same.
        """
        self._note(rewards, name, {"prompts": prompts, "completions": completions})

    def not_finite(self, number: int) -> Tensor:
        """Tell of each row of the last call whether a function gave it a reward that is not finite.

        Args:
            number: rows.

        Returns:
            bool, shape (number,).
        """
        return torch.tensor([row in self._rows for row in range(number)])

    def _watched(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        if is_async_callable(function):

            async def watched_async(**batch: Any) -> list[float | None]:
                try:
                    rewards = await function(**batch)
                except Exception as error:
                    raise ValueError(self._failure(name, error, batch)) from error
                return self._checked(rewards, name, batch)

            return watched_async

        def watched(**batch: Any) -> list[float | None]:
            try:
                rewards = function(**batch)
            except Exception as error:
                place = _row_that_fails(function, batch)
                raise ValueError(self._failure(name, error, batch, place)) from error
            return self._checked(rewards, name, batch)

        return watched

    def _checked(self, rewards: Any, name: str, batch: dict[str, Any]) -> list[float | None]:
        number = len(batch["prompts"])
        if hasattr(rewards, "tolist"):
            rewards = rewards.tolist()
        if not isinstance(rewards, list | tuple):
            raise ValueError(
                f"the reward function {name} must return a list of {number} numbers, one a response, got "
                f"{rewards!r:.100}; return a list (None in it where there is no verdict)."
            )
        if len(rewards) != number:
            raise ValueError(
                f"the reward function {name} must return {number} rewards, one a response, got {len(rewards)}; "
                "return one for each of `completions`, in their order."
            )
        checked: list[float | None] = []
        for row, reward in enumerate(rewards):
            if isinstance(reward, Tensor) and reward.numel() == 1:
                reward = reward.item()
            if reward is not None and not isinstance(reward, Real | np.bool_):
                raise ValueError(
                    f"the reward function {name} must return numbers, got {reward!r:.100} for "
                    f"{self._place(batch, row)}; return a number, or None where there is no verdict."
                )
            checked.append(None if reward is None else _as_float(reward))
        self._note(checked, name, batch)
        return checked

    def _note(self, rewards: Sequence[float | None], name: str, batch: dict[str, Any]) -> None:
        if name == self._process_reward:
            self._check_scores(rewards, name, batch)
        broken = [row for row, reward in enumerate(rewards) if reward is not None and not abs(reward) <= _LARGEST]
        if not broken:
            return
        self._rows |= set(broken)
        self._warnings[name] += 1
        if self._warnings[name] > _MOST_WARNINGS:
            return
        more = f", and {len(broken) - 1} more of {len(rewards)} are not finite" if len(broken) > 1 else ""
        is_last = self._warnings[name] == _MOST_WARNINGS
        logger.warning(
            "the reward function %s gave %s for %s%s; these rows have no verdict and are left out%s",
            name,
            rewards[broken[0]],
            self._place(batch, broken[0]),
            more,
            " (from here on only k15/non_finite_rewards tells of more)" if is_last else "",
        )

    def _check_scores(self, rewards: Sequence[float | None], name: str, batch: dict[str, Any]) -> None:
        for row, reward in enumerate(rewards):
            if reward is not None and not 0 <= reward <= 1:
                raise ValueError(
                    f"the process reward {name} must give scores from 0 to 1, got {reward} for "
                    f"{self._place(batch, row)}; scale it, and return None where there is no score."
                )

    def _failure(self, name: str, error: Exception, batch: dict[str, Any], row: int | None = None) -> str:
        where = f"a batch of {len(batch['prompts'])} responses" if row is None else self._place(batch, row)
        return f"the reward function {name} failed with {type(error).__name__}: {error} (on {where}); correct it."

    def _place(self, batch: dict[str, Any], row: int) -> str:
        prompt, response = _excerpt(batch["prompts"][row]), _excerpt(batch["completions"][row])
        problem = f"the problem {prompt}" if self._problems is None else f"problem {self._problems[row]}, {prompt},"
        return f"{problem} and the response {response}"


def _row_that_fails(function: Callable[..., Any], batch: dict[str, Any]) -> int | None:
    """Find the first row with which a function fails that has failed with all of them; None if none does alone."""
    number = len(batch["prompts"])
    for row in range(number):
        alone = {
            key: [value[row]] if isinstance(value, list) and len(value) == number else value
            for key, value in batch.items()
        }
        try:
            function(**alone)
        except Exception:
            return row
    return None


def _as_float(reward: Any) -> float:
    """The reward as a float; infinite where it is too large for one, e.g. 10**400."""
    try:
        return float(reward)
    except OverflowError:
        return math.inf if reward > 0 else -math.inf


def _excerpt(text: Any, characters: int = 120) -> str:
    """Return the beginning of a prompt's, and the end of a conversation's, text."""
    if isinstance(text, list):
        text = text[-1].get("content", "") if text else ""
    shown = str(text)
    return repr(shown if len(shown) <= characters else f"{shown[:characters]}...")
