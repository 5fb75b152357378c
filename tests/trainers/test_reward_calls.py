"""Reward functions as they are called in training."""

import math

import pytest

from k15_plugins.trainers.reward_calls import RewardCalls


@pytest.mark.parametrize("sign", [1, -1])
def test_a_whole_number_too_large_for_a_float_is_infinite_and_named(sign, caplog):
    calls = RewardCalls()
    (function,) = calls.watched([lambda **_: [1.0, sign * 10**400]], ["huge"])
    infinite = sign * math.inf
    assert function(prompts=["p", "p"], completions=["a", "b"]) == [1.0, infinite]
    assert f"the reward function huge gave {infinite} for" in caplog.text
    assert calls.not_finite(2).tolist() == [False, True]
