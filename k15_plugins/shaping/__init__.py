"""What is added to a reward inside its group (paper 2.3.3)."""

from k15_plugins.shaping.length_penalty import GroupLengthReward, length_penalty_is_on, length_reward

__all__ = ["GroupLengthReward", "length_penalty_is_on", "length_reward"]
