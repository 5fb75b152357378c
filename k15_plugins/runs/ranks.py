"""Start the ranks of a job by torchrun, and leave it to the failed rank to say why it failed.

python -m k15_plugins.runs.ranks [torchrun's arguments] -m k15_plugins.runs.job RUN_DIR
"""

import logging
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

# The agent tells of every failed rank in thirty lines, none of which is the reason.
logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
for name in ("api", "errors", "subprocess_handler"):
    logging.getLogger(f"torch.distributed.elastic.multiprocessing.{name}").setLevel(logging.CRITICAL)
try:
    main(sys.argv[1:])
except ChildFailedError as error:
    sys.exit(max(1, error.get_first_failure()[1].exitcode))
