"""A line an iteration in a TRL script: what the rollouts were worth."""

from statistics import fmean
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback


class ShowRewards(TrainerCallback):
    """Prints the mean reward, the share of right answers and the mean tokens of each iteration's rollouts.

    For a `SampledGRPOTrainer` or `MirrorDescentTrainer`, whatever `logging_steps` is: `callbacks=[ShowRewards()]`.
    """

    def on_rollouts(self, trainer: Any, rollouts: list[dict[str, Any]]) -> None:
        """Print the line; the trainer calls this on the main process.

        Args:
            trainer: The trainer.
            rollouts: Its rollouts, see `SampledGRPOTrainer`.
        """
        micro_steps = trainer.state.max_steps * trainer.args.gradient_accumulation_steps
        total = -(-micro_steps // trainer.micro_steps_per_iteration)
        reward, right, tokens = (fmean(each[key] for each in rollouts) for key in ("reward", "right", "tokens"))
        # Not `print`, which would tear the bar that transformers draws.
        figures = f"reward {reward:.2f}  right {right:.2f}  tokens {tokens:.1f}"
        tqdm.write(f"iteration {trainer.iteration + 1}/{total}  {figures}")
