"""A rank of a Megatron job: does what the trainer asks, until the trainer is gone.

Rank 0 is connected to the trainer, on the same machine, and hands each call on; all ranks make it on their part of the
model. Started by `remote.RemoteEngine`, and on the other machines of a job, if there are any, by torchrun.
"""

import os
import pickle
import sys
import traceback
import warnings
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.connection import Client, Connection
from typing import Any

import torch
from torch import distributed

from k15_plugins.processes import is_first_rank

ADDRESS, KEY = "K15_MEGATRON_ADDRESS", "K15_MEGATRON_KEY"


def main() -> int:
    """Serve the trainer; return the exit code."""
    # Megatron's own calls under torch's and its own new names; of all else, one rank tells.
    warnings.filterwarnings("ignore", message="`torch.distributed.* is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message="full scope is deprecated", category=UserWarning)
    if not is_first_rank():
        warnings.simplefilter("ignore")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if not torch.cuda.is_available():
        from k15_plugins.megatron.job.without_cuda import run_without_cuda

        run_without_cuda()
    from k15_plugins.megatron.engine import MegatronEngine

    trainer: Connection | None = None
    if is_first_rank():
        host, port = os.environ[ADDRESS].rsplit(":", 1)
        trainer = Client((host, int(port)), authkey=bytes.fromhex(os.environ[KEY]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    # The other ranks wait for a call for as long as the trainer generates and scores.
    group: Any = distributed.new_group(backend="gloo", timeout=timedelta(days=7))
    engine: Any = None
    for name, arguments in _calls(trainer, group):
        try:
            result = MegatronEngine(*arguments) if name == "__init__" else getattr(engine, name)(*arguments)
            if name == "__init__":
                engine, result = result, None
            for item in result if isinstance(result, Iterator) else ():
                _answer(trainer, "item", item)
            _answer(trainer, "done", None if isinstance(result, Iterator) else result)
        except Exception as error:
            traceback.print_exc()
            # The trainer then hears of the rank that died.
            if not _is_of_another_rank(error):
                _answer(trainer, "error", f"{type(error).__name__}: {error}")
            return 1
    distributed.destroy_process_group()
    return 0


def _calls(trainer: Connection | None, group: Any) -> Iterator[tuple[str, Any]]:
    """Yield the trainer's calls on all ranks, until it closes the connection or dies."""
    while True:
        call: list[Any] = [None]
        if trainer is not None:
            try:
                call = [pickle.loads(trainer.recv_bytes())]
            except (EOFError, ConnectionError):
                call = [None]
        distributed.broadcast_object_list(call, src=0, group=group)
        if call[0] is None:
            return
        yield call[0]


def _is_of_another_rank(error: Exception) -> bool:
    """Tell whether another rank has ended while this one waited for it; gloo has no class of errors for that."""
    return isinstance(error, distributed.DistError) or "gloo/transport" in str(error)


def _answer(trainer: Connection | None, kind: str, value: Any) -> None:
    if trainer is not None:
        trainer.send_bytes(pickle.dumps((kind, value), protocol=pickle.HIGHEST_PROTOCOL))


if __name__ == "__main__":
    # Saving a checkpoint starts processes that import this file.
    sys.exit(main())
