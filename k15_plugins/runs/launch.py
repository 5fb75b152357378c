"""The job as its own process: started once, or once a rank by torchrun, and ended when the launcher ends."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from k15_plugins.processes import LIFELINE
from k15_plugins.runs.labels import COLUMNS, labelled, say


@dataclass(frozen=True)
class Backend:
    """How a job is started.

    Args:
        processes: Processes of the job on this machine; more than one is started by torchrun.
        environment: Environment variables of the job.

    Raises:
        ValueError: If there is not at least one process, or a number of threads is none.
    """

    processes: int = 1
    environment: dict[str, str | int | float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.processes, int) or self.processes < 1:
            raise ValueError(
                f"backend.processes must be a number of processes, 1 or more, got {self.processes!r}; set 1, say."
            )
        for name, value in self.environment.items():
            if name.endswith("_NUM_THREADS") and (not str(value).isdecimal() or int(value) < 1):
                raise ValueError(
                    f"backend.environment.{name} must be a whole number from 1, got {value!r}; take such a number, or "
                    "leave it out."
                )

    @property
    def trainer_processes(self) -> int:
        """Processes that run the trainer."""
        return self.processes


def start_job(run_dir: Path, backend: Backend, held: int, label: str = "") -> int:
    """Run the job of a folder as a child process, its output on this terminal, and wait for it.

    Ctrl-C and SIGTERM are passed on once, so that the job can write its report; a second one kills it. Should this
    process die without a word, the job ends itself, because its standard input closes (see `hold_lifeline`).

    Args:
        run_dir: The run's folder, with the config in it.
        backend: Number of processes and environment.
        held: The file descriptor that holds the folder; the job keeps it open for as long as it lives.
        label: What stands before every line of the job, to tell it from others on the same terminal.

    Returns:
        The exit code; negative for a signal.

    Raises:
        KeyboardInterrupt: After the job has ended, if it was interrupted from here.
    """
    command = [sys.executable, "-m"]
    if backend.trainer_processes > 1:
        command += ["k15_plugins.runs.ranks", "--standalone", f"--nproc_per_node={backend.trainer_processes}", "-m"]
    command += ["k15_plugins.runs.job", str(run_dir)]
    threads = max(1, (os.cpu_count() or 1) // backend.processes)
    # Some of reasoning-gym's tasks depend on the hashes of strings, and all ranks must see the same problems.
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONHASHSEED": "0",
        **os.environ,
        # The command line reads OMP_NUM_THREADS=1 as a number.
        **{name: str(value) for name, value in backend.environment.items()},
        LIFELINE: "1",
    }
    # Its own session: the terminal's Ctrl-C must reach the job once, from here, whatever started this process.
    if label:
        environment["COLUMNS"] = str(int(os.environ.get("COLUMNS", COLUMNS)) - len(label))
    with labelled(label) as (stdout, stderr), _sigterm_as_interrupt():
        child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=[held],
        )
        try:
            return child.wait()
        except KeyboardInterrupt:
            say(
                "stopping, and writing the report; Ctrl-C once more ends it at once, without what is not saved yet",
                f"\n{label}",
            )
            # Not SIGINT: a shell that starts a command in the background lets all that it starts ignore that.
            child.send_signal(signal.SIGTERM)
            try:
                child.wait()
            except KeyboardInterrupt:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            raise


class _sigterm_as_interrupt:
    def __enter__(self) -> None:
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:
            self.before = signal.signal(signal.SIGTERM, signal.default_int_handler)

    def __exit__(self, *error: object) -> None:
        if self.main:
            signal.signal(signal.SIGTERM, self.before)
