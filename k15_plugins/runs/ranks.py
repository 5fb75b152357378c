"""Start the ranks of a job by torchrun, and leave it to the failed rank to say why it failed.

python -m k15_plugins.runs.ranks [torchrun's arguments] -m k15_plugins.runs.job RUN_DIR
"""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

# The agent tells of every failed rank in thirty lines, none of which is the reason.
logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
for name in ("api", "errors", "subprocess_handler"):
    logging.getLogger(f"torch.distributed.elastic.multiprocessing.{name}").setLevel(logging.CRITICAL)


def _pass_on(number: int, frame: Any) -> None:
    """Tell the ranks alone: the agent would give them 30 seconds, and an update may take longer."""
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        os.kill(int(child), number)


signal.signal(signal.SIGTERM, _pass_on)
try:
    main(["--signals-to-handle=SIGINT", *sys.argv[1:]])
except ChildFailedError as error:
    sys.exit(max(1, error.get_first_failure()[1].exitcode))
