"""Starts a job of several ranks, and leaves none of them behind."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_job(processes: int, script: str, *arguments: Any, timeout_seconds: float = 300) -> None:
    """Run a script of this folder under torchrun.

    Args:
        processes: ranks.
        script: Name of the file, or a path of another one.
        *arguments: Of the script.
        timeout_seconds: After which the job is ended.

    Raises:
        RuntimeError: If it fails or takes longer.
    """
    job = subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"),
            *(str(Path(__file__).parent / script), *map(str, arguments)),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])},
    )
    try:
        code = job.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        # torchrun ends its ranks when it is asked to end, and leaves them when it is killed.
        job.terminate()
        job.wait()
        raise RuntimeError(f"{script} took more than {timeout_seconds} seconds.") from None
    if code:
        raise RuntimeError(f"{script} ended with exit code {code}; its reason stands above.")
