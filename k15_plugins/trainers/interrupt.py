"""Ctrl-C and SIGTERM in a training: the update at hand ends, a checkpoint is saved; a second one ends it at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from k15_plugins.processes import is_first_rank

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def saved_when_interrupted(trainer: Any) -> Iterator[None]:
    """Let a training inside that is interrupted end after its update, with a checkpoint.

    Args:
        trainer: A trainer whose checkpoints can be resumed from.

    Raises:
        KeyboardInterrupt: After the training has ended, if it was interrupted; at once at the second signal.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone may look after signals
        yield
        return
    interrupt = _Interrupt()
    before = {number: signal.signal(number, interrupt.heed) for number in _SIGNALS}
    trainer.add_callback(interrupt)
    try:
        yield
    finally:
        trainer.remove_callback(interrupt)
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupt.is_over:
        # torchrun ends all ranks when the first one ends.
        trainer.accelerator.wait_for_everyone()
        raise KeyboardInterrupt


class _Interrupt(TrainerCallback):
    """Ends a training after its update, on all processes after the same one, once one of them got a signal."""

    def __init__(self) -> None:
        self.is_asked = False
        self.is_over = False

    def heed(self, number: int, frame: Any) -> None:
        """Take a signal."""
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
        if is_first_rank():
            print("k15: a checkpoint is saved after the update at hand; a second signal ends it now", flush=True)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.world_size > 1:
            asked = torch.tensor([self.is_asked], device=args.device)
            self.is_asked = bool(gather(asked).any())
        if self.is_asked:
            self.is_over = control.should_save = control.should_training_stop = True
