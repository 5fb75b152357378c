"""The processes of a job: which one speaks, how they wait for each other, and commands that are started from one."""

import os
import signal
import subprocess
import threading
import time
from typing import Any

LIFELINE = "K15_LIFELINE"
_OF_THIS_JOB = ("RANK", "WORLD_", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "ACCELERATE_", "FSDP_")


def is_first_rank() -> bool:
    """Tell whether this process of a job writes what is written once."""
    return os.environ.get("RANK", "0") == "0"


def processes() -> Any:
    """Return the processes of this job, to wait for each other.

    accelerate looks for several of them on the CPU only if it is told so here; the environment does not count.
    """
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available())


def leave_processes() -> None:
    """Leave the group of processes, if there is one; threads of gloo that live until the very end may abort a rank."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # A thread of gloo that still lets go of a tensor needs Python's lock, which this one holds when it waits for
        # the end of that thread: on a busy machine both would wait for ever.
        time.sleep(1.0)
        torch.distributed.destroy_process_group()


def environment_apart() -> dict[str, str]:
    """Return the environment without what makes a process a rank of this job."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OF_THIS_JOB)}


def run_apart(command: list[str]) -> int:
    """Run another command of this package from inside a job; it ends when this process does.

    Args:
        command: Program and arguments.

    Returns:
        The exit code.
    """
    with subprocess.Popen(command, env=environment_apart() | {LIFELINE: "1"}, stdin=subprocess.PIPE) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGTERM)
            raise


def hold_lifeline() -> bool:
    """In a job, or a command of a job: end at once when the process that started it is gone, killed with -9 say.

    Returns:
        Whether a job started this process, and not a person.
    """
    if os.environ.pop(LIFELINE, None) is None:
        return False

    def wait_for_the_end() -> None:
        # os.read takes no lock, which a shutdown of the interpreter would find held.
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    return True
