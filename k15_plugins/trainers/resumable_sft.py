"""TRL's `SFTTrainer` with checkpoints that are known to be whole, so that a run that was killed can go on."""

from typing import Any

from trl import SFTTrainer

from k15_plugins.trainers.checkpoint import begin_checkpoint, check_checkpoint, write_manifest
from k15_plugins.trainers.interrupt import saved_when_interrupted


class ResumableSFTTrainer(SFTTrainer):
    """`SFTTrainer` that refuses a checkpoint which is not whole, or was made with another layout.

    transformers keeps the place in the data and the states of the optimizer and of chance; here is only the manifest,
    as `MirrorDescentTrainer` writes it.
    """

    def train(self, resume_from_checkpoint: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Train as `SFTTrainer.train`.

        Args:
            resume_from_checkpoint: Folder of a checkpoint to go on from.
            **kwargs: As `transformers.Trainer.train`.

        Raises:
            ValueError: If the checkpoint is missing, foreign, truncated, or was made with another layout.
            KeyboardInterrupt: After Ctrl-C or SIGTERM; the first lets the update at hand end, and saves a checkpoint.
        """
        if resume_from_checkpoint:
            resume_from_checkpoint = str(resume_from_checkpoint)
            check_checkpoint(resume_from_checkpoint, self._layout())
        with saved_when_interrupted(self):
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _layout(self) -> dict[str, Any]:
        return {
            "trainer": type(self).__name__,
            "processes": self.accelerator.num_processes,
            "per_device_train_batch_size": self._train_batch_size,
            "gradient_accumulation_steps": self.args.gradient_accumulation_steps,
            "seed": self.args.seed,
        }

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = f"{self._get_output_dir(trial=trial)}/checkpoint-{self.state.global_step}"
        if self.args.should_save:
            begin_checkpoint(folder)
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            write_manifest(folder, self._layout())
