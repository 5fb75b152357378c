"""Values of rollouts that lie in groups, one group for each problem."""

from torch import Tensor

from k15_plugins.numbers import check_whole_numbers


def check_groups(name: str, values_N: Tensor, num_generations: int) -> None:
    """Refuse values of rollouts that are not whole groups.

    Args:
        name: Of the values, for the message.
        values_N: A value of each rollout, shape (N,).
        num_generations: k, the rollouts of a problem.

    Raises:
        ValueError: If they have not one dimension, or N is not divisible by k.
    """
    if not isinstance(values_N, Tensor):
        raise ValueError(
            f"{name} must be a tensor of shape (N,), got a {type(values_N).__name__}; give torch.tensor({name})."
        )
    check_whole_numbers(num_generations=num_generations)
    if values_N.dim() != 1:
        raise ValueError(
            f"{name} must be of shape (N,), one value for each rollout, got {tuple(values_N.shape)}; flatten it, the "
            "rollouts of a problem next to each other."
        )
    if num_generations < 1 or len(values_N) % num_generations:
        raise ValueError(
            f"{name} must hold whole groups of num_generations={num_generations} rollouts, got {len(values_N)}; give "
            "all rollouts of each problem."
        )
