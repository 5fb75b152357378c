"""What a job leaves unsaid: warnings that no config of ours can answer, and whatever has been said once already."""

import logging
import os
import sys
import warnings
from typing import Any

from k15_plugins.processes import is_first_rank

_WARNINGS = (
    # TRL's defaults cause these, with transformers' new names.
    (r"`\w*gradient_checkpointing\w*` is deprecated and will be removed in v6", FutureWarning),
    # torch's loader, for transformers' default.
    (r"'pin_memory' argument is set as true but no accelerator is found", UserWarning),
    # Other packages' code, when Python first compiles it.
    (r".*", SyntaxWarning),
)
_LOGGED = {
    # The output layer of a model that shares it with its input: it is saved once.
    "transformers.trainer": "There were missing keys in the checkpoint model loaded: ['lm_head.weight'].",
    # Checkpoints of tiny models are saved within a second; the order of their numbers is as good.
    "transformers.trainer_utils": "mtime may not be reliable on this filesystem",
    # Imported by peft and transformers wherever it is installed, and used by none of our models.
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
}


class _Unsaid(logging.Filter):
    def __init__(self, beginning: str):
        super().__init__()
        self.beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self.beginning)


def quiet() -> None:
    """Set up the warnings of a job's process; to be called before anything heavy is imported.

    A warning is told in one line, once, by the first rank alone.
    """
    for message, category in _WARNINGS:
        warnings.filterwarnings("ignore", message=message, category=category)
    for name, beginning in _LOGGED.items():
        logging.getLogger(name).addFilter(_Unsaid(beginning))
    told: set[str] = set()

    def tell(message: Any, category: type, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        text = f"{category.__name__}: {' '.join(str(message).split())} ({filename}:{lineno})"
        if is_first_rank() and str(message) not in told:
            told.add(str(message))
            print(text, file=file or sys.stderr, flush=True)

    warnings.showwarning = tell
    if not is_first_rank():
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
