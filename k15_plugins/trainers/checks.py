"""What a trainer is given, checked before a model is loaded: data, reward functions, sampler, model, options."""

from typing import Any

from k15_plugins.trainers.data_checks import check_datasets
from k15_plugins.trainers.kinds import check_kinds
from k15_plugins.trainers.model_checks import check_model
from k15_plugins.trainers.option_checks import check_options
from k15_plugins.trainers.reward_checks import check_reward_funcs


def check_before(given: dict[str, Any], sampler: Any = None, final_reward: str | None = None) -> None:
    """Check the arguments of a trainer.

    Args:
        given: Arguments of `GRPOTrainer`, by name; those that are not known yet are left out.
        sampler: Draws the problems, or None.
        final_reward: Name of the reward function that tells right from wrong, or None for the first.

    Raises:
        ValueError: Naming the argument, what is wrong with it, and the cure.
    """
    check_kinds(given)
    check_datasets(given, sampler)
    check_reward_funcs(given, final_reward)
    if given.get("args") is not None:
        check_options(given)
    if "model" in given:
        check_model(given)


def check_mirror_descent(trainer: Any) -> None:
    """Refuse options that the data or the engine of a trainer cannot give.

    Args:
        trainer: A `MirrorDescentTrainer` that is built.

    Raises:
        ValueError: Naming the option and the cure.
    """
    args = trainer.args
    if args.reset_optimizer and trainer.is_deepspeed_enabled:
        raise ValueError(
            "reset_optimizer=True cannot clear an optimizer that DeepSpeed owns; set reset_optimizer=False."
        )
    if args.max_refills > 0 and (trainer.sampler is None or trainer._is_vlm):
        raise ValueError(
            f"max_refills={args.max_refills} needs text prompts in a data set with a length; set max_refills=0."
        )
    rows = args.per_device_train_batch_size * args.steps_per_generation
    if args.max_refills > 0 and rows % trainer.num_generations:
        raise ValueError(
            f"max_refills={args.max_refills} needs whole groups on each process, but a process has {rows} "
            f"rollouts and num_generations={trainer.num_generations}; make the one divisible by the other."
        )
