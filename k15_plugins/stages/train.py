"""One training in a run, which leaves the terminal to the run's own figures."""

from pathlib import Path
from typing import Any

import datasets
from transformers import PrinterCallback, ProgressCallback
from transformers.utils import logging

from k15_plugins.report.recorder import RunRecorder


def train(trainer: Any, checkpoint: Path | None = None) -> None:
    """Train, and leave the terminal as it was however that ends.

    Args:
        trainer: The trainer, with a `RunRecorder`, which shows the progress.
        checkpoint: Folder of the checkpoint to go on from.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, RunRecorder):
                callback.close()


def quiet() -> None:
    """Leave the terminal to the run's own figures."""
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
