"""The pool of workers, one for each process of the trainer: what verifies answers and drives boxes runs in it.

    from k15_plugins.sandbox import pool

    results = pool.map("my_package.my_module:judge", items)     # in order; a Failed where there is no value
    pool.use("ray", address="10.0.0.1:6379")                    # on a Ray cluster from now on

Behind it is joblib: processes of this machine (loky), or of a Ray cluster. With one worker, in a fork of a process
whose pool has started, and in a daemon of multiprocessing, which may have no children, the calls run in the process
itself. So a function that is given to the pool guards itself against what it works on: the pool sees to it only that
an item which ends its worker costs no other item.
"""

import importlib.util
import multiprocessing
import os
import pkgutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from k15_plugins.extras import cure

POOLS = ("loky", "ray")
# Workers wait for their next batch as long as an iteration may last; they end with the process that started them.
_IDLE_SECONDS = 24 * 3600


class Failed(str):
    """Instead of the value of an item: what went wrong."""


def map(function: str | Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Call a function on each item, in the workers.

    Works in every thread, one batch at a time. Items near each other in the list run near each other in time, each in
    whichever worker is free next, so an item that takes long holds up no other.

    Args:
        function: A function of one argument, as "module:name", which only the workers import, or itself,
            if it pickles. It may keep what it has loaded: a worker lives from batch to batch.
        items: Its arguments; they and the values must be picklable.

    Returns:
        The values in the order of the items; a `Failed` where the function raised, could not be loaded, or ended its
        worker twice.

    Raises:
        RuntimeError: If no worker can be started.
    """
    return _pool.map(function, list(items))


def workers() -> int:
    """Return how many workers the pool has: cores // processes of this machine's job, or what `use` said."""
    return _pool.workers


def use(pool: str = "loky", address: str | None = None, workers: int | None = None) -> None:
    """Choose the pool of this process; in a recipe the keys of `rewards` do it.

    Args:
        pool: "loky" for processes of this machine, "ray" for a Ray cluster.
        address: Of the Ray cluster, "HOST:PORT", or "auto" for the one that this machine belongs to.
        workers: How many; None for all cores of the machine, or of the cluster, shared among the processes of the
            job. With 1 nothing is started: calls run in this process.

    Raises:
        ValueError: If a value cannot be, or Ray is not installed, in one sentence.
        ConnectionError: If there is no cluster at the address.
    """
    global _pool
    check_use(pool, address, workers)
    _pool.close()
    if pool == "ray":
        from k15_plugins.sandbox.ray_backend import join

        cores = join(address)  # one worker would be none of the cluster's
        workers = workers or max(2, cores // int(os.environ.get("WORLD_SIZE", "1")))
    _pool = _Pool(pool, workers)


def check_use(pool: Any = "loky", address: Any = None, workers: Any = None) -> None:
    """Refuse arguments of `use` that cannot be; starts nothing.

    Raises:
        ValueError: In one sentence.
    """
    if pool not in POOLS:
        raise ValueError(f"rewards.pool must be one of {', '.join(POOLS)}, got {pool!r}; set rewards.pool=loky.")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ValueError(
            f"rewards.workers must be a whole number from 1 or null, got {workers!r}; set rewards.workers=null."
        )
    if pool == "ray" and (not isinstance(address, str) or not address):
        raise ValueError(
            f"rewards.address must be the address of a Ray cluster for rewards.pool=ray, got {address!r}; "
            "set rewards.address=HOST:PORT, or auto on a machine of the cluster."
        )
    if pool != "ray" and address is not None:
        raise ValueError(
            f"rewards.address must be null for rewards.pool={pool}, got {address!r}; set rewards.pool=ray, or leave "
            "it out."
        )
    if pool == "ray" and importlib.util.find_spec("ray") is None:
        raise ValueError(f"rewards.pool must be loky where ray is not installed, got 'ray'{cure('ray')}.")


class _Pool:
    def __init__(self, pool: str, workers: int | None) -> None:
        self._pool = pool
        self._workers = workers
        self._parallel: Any = None
        self._lock = threading.Lock()
        self._pid = os.getpid()

    @property
    def workers(self) -> int:
        if self._workers is None:
            self._workers = self._all_cores()
        return self._workers

    def map(self, function: str | Callable[[Any], Any], items: list[Any]) -> list[Any]:
        if self._runs_here():
            return [_call(function, index, item)[1] for index, item in enumerate(items)]
        values: dict[int, Any] = {}
        waiting = deque(range(len(items)))
        with self._lock:
            while waiting:
                # A worker that died took with it what others were at, so each of these is done again by itself.
                for index in self._run(function, items, waiting, values)[0]:
                    if index not in values:
                        _, reason = self._run(function, items, deque([index]), values)
                        values.setdefault(index, Failed(reason))
        return [values[index] for index in range(len(items))]

    def close(self) -> None:
        """Let go of the workers."""
        parallel, self._parallel = self._parallel, None
        if parallel is not None and self._pid == os.getpid():
            parallel.__exit__(None, None, None)

    def _all_cores(self) -> int:
        import joblib

        return max(1, joblib.cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))

    def _runs_here(self) -> bool:
        if self._pid != os.getpid():  # a fork: a thread that is not here may hold the lock
            self._parallel, self._lock, self._pid = None, threading.Lock(), os.getpid()
        # What joblib started before a fork does not work after it.
        is_of_parent = _started_in is not None and _started_in != os.getpid()
        return is_of_parent or self.workers == 1 or bool(multiprocessing.current_process().daemon)

    def _start(self) -> Any:
        global _started_in
        if self._parallel is None:
            import joblib

            _started_in = os.getpid()
            backend: Any = self._pool
            options: dict[str, Any] = {}
            if backend == "ray":
                from k15_plugins.sandbox.ray_backend import RayTasks

                backend = RayTasks(nesting_level=0)
            else:
                options = {"initializer": _begin_worker, "initargs": (os.getpid(),)}
                options["idle_worker_timeout"] = _IDLE_SECONDS
            parallel = joblib.Parallel(
                self.workers, backend, return_as="generator_unordered", batch_size=1, max_nbytes=None, **options
            )
            with _without_working_directory():
                parallel.__enter__()
                list(parallel([joblib.delayed(os.getpid)()]))  # starts all of them
            self._parallel = parallel
        return self._parallel

    def _run(
        self, function: str | Callable[[Any], Any], items: list[Any], waiting: deque[int], values: dict[int, Any]
    ) -> tuple[list[int], str]:
        """Run what is waiting, until a worker dies; return the indices that were started, and why it ended early."""
        from joblib import delayed

        started: list[int] = []

        def tasks() -> Iterator[Any]:
            while waiting:
                started.append(waiting.popleft())
                yield delayed(_call)(function, started[-1], items[started[-1]])

        parallel = self._start()
        try:
            values.update(parallel(tasks()))
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            return started, f"{type(error).__name__}: {error}".partition("\n")[0]
        return started, ""


def _call(function: str | Callable[[Any], Any], index: int, item: Any) -> tuple[int, Any]:
    try:
        call = pkgutil.resolve_name(function) if isinstance(function, str) else function
        return index, call(item)
    except (Exception, SystemExit) as error:
        return index, Failed(f"{type(error).__name__}: {error}"[:500])


@contextmanager
def _without_working_directory() -> Iterator[None]:
    """Keep the working directory out of the path of what is started: a file math.py there must not be imported."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before


def _begin_worker(parent: int) -> None:
    """Leave Ctrl-C to the trainer, and end with it: a worker of loky would wait on when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


_pool = _Pool("loky", None)
_started_in: int | None = None
