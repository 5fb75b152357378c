"""The pool on a Ray cluster, as a backend of joblib: each call is a task for whichever core of it is free next.

Ray's own backend for joblib gives every call to one of its processes before that is free, so calls behind one that
hangs would wait while other processes have nothing to do.
"""

import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from joblib import ParallelBackendBase

from k15_plugins.extras import optional_import


class RayTasks(ParallelBackendBase):
    """Runs joblib's calls as tasks on the Ray cluster that this process has joined, `n_jobs` at a time."""

    supports_retrieve_callback = True

    def effective_n_jobs(self, n_jobs: int) -> int:
        return n_jobs

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        with optional_import():
            import ray

        self.parallel = parallel
        # A task that ends its process is told, not tried again: what it did to one it may do to all.
        task = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")(_call)
        self._run = lambda call: ray.get(task.remote(call))
        self._threads = ThreadPoolExecutor(n_jobs, "k15-ray")
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Future], None] | None = None) -> Future:
        future = self._threads.submit(self._run, func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future) -> Any:
        return out.result()

    def terminate(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        self.terminate()
        if ensure_ready:
            self.configure(self.parallel.n_jobs, self.parallel)


def join(address: str | None) -> int:
    """Join a Ray cluster; a process that has joined one stays there.

    Args:
        address: "HOST:PORT", or "auto" for the cluster of this machine.

    Returns:
        How many cores it has.

    Raises:
        ConnectionError: If there is none.
    """
    with optional_import():
        import ray

    try:
        if address and address != "auto":  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level="warning")
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConnectionError(
            f"rewards.address must be the address of a running Ray cluster, got {address!r} ({reason:.300}); start "
            "one by `ray start --head`, or set rewards.pool=loky."
        ) from error
    return int(ray.cluster_resources().get("CPU", 0))


def _call(call: Callable[[], Any]) -> Any:
    return call()
