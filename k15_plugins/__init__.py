"""The reinforcement learning recipe of Kimi k1.5 (https://huggingface.co/papers/2501.12599) as plugins for TRL."""

from importlib import import_module

_HOMES = {
    "MirrorDescentConfig": "trainers.config",
    "MirrorDescentTrainer": "trainers.mirror_descent",
    "SampledGRPOTrainer": "trainers.sampled_grpo",
    "ShowRewards": "trainers.show_rewards",
    "mirror_descent_loss": "objective",
    "baseline": "objective",
    "GroupLengthReward": "shaping",
    "length_reward": "shaping",
    "dual_lambda": "shaping",
    "dual_reward": "shaping",
    "right_above_wrong": "shaping",
    "RolloutBuffer": "rollouts",
    "RepetitionRule": "rollouts",
    "ProblemSampler": "sampling",
    "SuccessRates": "sampling",
    "UniformSampler": "sampling",
    "CurriculumSampler": "sampling",
    "PrioritizedSampler": "sampling",
    "EasyToHard": "sampling",
    "UniformThenHard": "sampling",
    "CodeReward": "rewards",
    "ExactMatchReward": "rewards",
    "MathReward": "rewards",
    "ReasoningGymReward": "rewards",
    "ArithmeticStepsReward": "rewards",
    "StepModelReward": "rewards",
    "ClassicModelReward": "rewards",
    "ChainOfThoughtReward": "rewards",
    "judge_prompt": "rewards",
    "read_verdict": "rewards",
    "TransformersJudge": "judges",
    "VllmJudge": "judges",
    "ServerJudge": "judges",
    "reasoning_gym_problems": "tasks.reasoning_gym",
    "load_code_problems": "tasks.code_problems",
    "load_problems": "tasks.files",
    "evaluate": "evaluation.accuracy",
    "summarize": "evaluation.statistics",
    "compare": "evaluation.statistics",
    "merge_checkpoints": "long2short.merge",
    "shortest_rows": "long2short.shortest",
    "preference_pairs": "long2short.pairs",
    "Point": "evaluation.frontier",
    "frontier": "evaluation.frontier",
    "select": "evaluation.frontier",
    "Long2ShortDPOConfig": "trainers.long2short_dpo",
    "Long2ShortDPOTrainer": "trainers.long2short_dpo",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `import k15_plugins` loads neither torch nor TRL."""
    if name not in _HOMES:
        raise AttributeError(f"module 'k15_plugins' has no attribute {name!r}")
    return getattr(import_module(f"k15_plugins.{_HOMES[name]}"), name)
