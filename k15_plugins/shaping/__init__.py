"""What is added to a reward inside its group (paper 2.3.3), and how two rewards become one."""

from k15_plugins.shaping.length_penalty import GroupLengthReward, length_penalty_is_on, length_reward
from k15_plugins.shaping.mixing import dual_lambda, dual_reward, right_above_wrong

__all__ = [
    "GroupLengthReward",
    "dual_lambda",
    "dual_reward",
    "length_penalty_is_on",
    "length_reward",
    "right_above_wrong",
]
