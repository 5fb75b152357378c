"""Reward functions as they are called in training: what goes wrong is told with function, problem and response."""

import inspect
import logging
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


class RewardCalls:
    """Watches over the calls of reward functions in a process, and notes which rows got no finite reward."""

    def __init__(self) -> None:
        self._rows: set[int] = set()

    def watched(self, reward_funcs: Sequence[Any], names: Sequence[str]) -> list[Any]:
        """Return reward functions whose results are checked; models stay as they are.

        Args:
            reward_funcs: functions and models, as `GRPOTrainer.reward_funcs`.
            names: of them.
        """
        self._rows = set()
        return [
            function if isinstance(function, torch.nn.Module) else self._watched(function, name)
            for function, name in zip(reward_funcs, names, strict=True)
        ]

    def not_finite(self, number: int) -> Tensor:
        """Tell of each row of the last call whether a function gave it a reward that is not finite.

        Args:
            number: rows.

        Returns:
            bool, shape (number,).
        """
        return torch.tensor([row in self._rows for row in range(number)])

    def _watched(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):

            async def watched_async(**batch: Any) -> list[float | None]:
                try:
                    rewards = await function(**batch)
                except Exception as error:
                    raise ValueError(_failure(name, error, batch)) from error
                return self._checked(rewards, name, batch)

            return watched_async

        def watched(**batch: Any) -> list[float | None]:
            try:
                rewards = function(**batch)
            except Exception as error:
                place = _row_that_fails(function, batch)
                raise ValueError(_failure(name, error, batch, place)) from error
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
            if reward is not None and not isinstance(reward, Real):
                raise ValueError(
                    f"the reward function {name} must return numbers, got {reward!r:.100} for "
                    f"{_place(batch, row)}; return a number, or None where there is no verdict."
                )
            checked.append(None if reward is None else float(reward))
        broken = [row for row, reward in enumerate(checked) if reward is not None and not math.isfinite(reward)]
        if broken:
            logger.warning(
                "the reward function %s gave %s for %s%s; the row has no verdict and is left out",
                name,
                checked[broken[0]],
                _place(batch, broken[0]),
                f", and {len(broken) - 1} more of {number} are not finite" if len(broken) > 1 else "",
            )
        self._rows |= set(broken)
        return checked


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


def _failure(name: str, error: Exception, batch: dict[str, Any], row: int | None = None) -> str:
    where = f"a batch of {len(batch['prompts'])} responses" if row is None else _place(batch, row)
    return f"the reward function {name} failed with {type(error).__name__}: {error} (on {where}); correct it."


def _place(batch: dict[str, Any], row: int) -> str:
    prompt, response = _excerpt(batch["prompts"][row]), _excerpt(batch["completions"][row])
    return f"the problem {prompt} and the response {response}"


def _excerpt(text: Any, characters: int = 120) -> str:
    """Return the beginning of a prompt's, and the end of a conversation's, text."""
    if isinstance(text, list):
        text = text[-1].get("content", "") if text else ""
    shown = str(text)
    return repr(shown if len(shown) <= characters else f"{shown[:characters]}...")
