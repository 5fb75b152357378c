"""What accelerate does not find out by itself: processes without an accelerator, and FSDP2 on them.

accelerate decides for FSDP by the kind of device alone: on the CPU it keeps `MULTI_CPU` and wraps in DDP, silently.
The correction was written for accelerate 1.15; where there is an accelerator, nothing of it is used.
"""

import functools
import os
from typing import Any

import accelerate
import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule
from transformers import TrainerCallback

_WRITTEN_FOR = "1.15."


def set_up_devices() -> None:
    """Prepare for the backend that the environment asks for; to be called before any training arguments are made.

    Raises:
        ValueError: If FSDP is asked for where it cannot be had.
    """
    if wants_fsdp() and int(os.environ.get("WORLD_SIZE", "1")) < 2:
        raise ValueError("backend=fsdp shards over processes and has one; take backend.processes=2 or more.")
    if torch.accelerator.is_available():
        return
    # Unless it is told, accelerate looks for several processes on accelerators only, and each would train alone.
    os.environ["ACCELERATE_USE_CPU"] = "true"
    if wants_fsdp():
        _allow_fsdp_on_cpu()


def wants_fsdp() -> bool:
    """Return whether the environment asks for FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


class RefuseUnsharded(TrainerCallback):
    """Ends a run that asked for FSDP2 and was silently given something else."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Look at what accelerate has made of the model.

        Raises:
            RuntimeError: If the model is not sharded.
        """
        if not isinstance(model, FSDPModule):
            raise RuntimeError(f"backend=fsdp was asked for, but accelerate left the model a {type(model).__name__}.")


def _allow_fsdp_on_cpu() -> None:
    if not accelerate.__version__.startswith(_WRITTEN_FOR):
        raise ValueError(
            f"backend=fsdp without an accelerator needs accelerate {_WRITTEN_FOR}*, and {accelerate.__version__} is "
            "installed; install that, or take backend=accelerate."
        )
    original = AcceleratorState.__init__

    @functools.wraps(original)
    def with_fsdp(self: AcceleratorState, *args: object, fsdp_plugin: object = None, **kwargs: object) -> None:
        first = not AcceleratorState._shared_state
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        # Only the first one decides; all later ones share its state.
        if first and self.distributed_type == DistributedType.MULTI_CPU:
            # What the same constructor does for every accelerator: the type says FSDP, with the plugin beside it,
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin
            # and the type is handed on to the state of the processes, which other objects read.
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = with_fsdp  # type: ignore[method-assign]
