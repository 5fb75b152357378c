"""Inside the job: from a folder with a config in it to a finished run. Every rank runs this, on the one config.

python -m k15_plugins.runs.job RUN_DIR
"""

import shutil
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from hydra.errors import InstantiationException
from hydra.utils import get_object

from k15_plugins.processes import hold_lifeline, is_first_rank
from k15_plugins.runs import folder
from k15_plugins.runs.before import check_before_stage
from k15_plugins.runs.labels import say, show_any_text
from k15_plugins.runs.quiet import quiet
from k15_plugins.runs.resume import shown
from k15_plugins.sandbox import pool
from k15_plugins.trainers.checkpoint import checkpoints_in, is_half
from k15_plugins.trainers.stopped import TrainingStopped

FAILED, REFUSED, INTERRUPTED = 1, 2, 130


def main(run_dir: Path) -> int:
    """Run the job of a folder.

    Args:
        run_dir: The run's folder.

    Returns:
        Exit code: 0, or 1 failed, 2 refused before anything was built, 130 interrupted.
    """
    hold_lifeline()
    show_any_text()
    quiet()
    # Schedulers and torchrun stop a job by SIGTERM; a second signal must not tear the report in two.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(run_dir)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        folder.finish(run_dir, "interrupted", "the run was interrupted")
        return INTERRUPTED
    finally:
        if is_first_rank():
            _report(run_dir)


def _run(run_dir: Path) -> int:
    config = folder.read_config(run_dir)
    if is_first_rank():
        say("loading torch and TRL")
    try:
        check_before_stage(config, run_dir)
        pool.use(**(config.get("rewards") or {}))
    except (ValueError, ConnectionError) as error:
        return _fail(run_dir, str(error), REFUSED)
    try:
        arguments = {key: value for key, value in config["stage"].items() if key != "_target_"}
        get_object(config["stage"]["_target_"])(config, run_dir, **arguments)
    except Exception as error:
        if folder.is_full_disk(error):
            return _disk_is_full(run_dir)
        (run_dir / folder.TRACEBACK).write_text(traceback.format_exc())
        # Hydra wraps what the class or function of a nested node raises.
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if isinstance(cause, ValueError | ImportError | OSError | TrainingStopped):
            return _fail(run_dir, " ".join(str(cause).split()), FAILED)
        folder.finish(run_dir, "failed", f"{type(error).__name__}: {error}")
        raise
    if is_first_rank():
        folder.finish(run_dir, "finished")
    # Here, because all else in this file goes without torch.
    from k15_plugins.processes import leave_processes

    leave_processes()
    return 0


def _fail(run_dir: Path, message: str, code: int) -> int:
    # The launcher prints it, once for all ranks.
    folder.finish(run_dir, "failed", message)
    return code


def _disk_is_full(run_dir: Path) -> int:
    """Make room by what cannot be gone on from anyway, and say what to do; the checkpoints before stay."""
    if is_first_rank():
        for path in checkpoints_in(run_dir / folder.CHECKPOINTS).values():
            if is_half(path):
                shutil.rmtree(path)
    message = f"no space is left on the disk of {shown(run_dir)}; free some, as much as a checkpoint takes at least."
    try:
        return _fail(run_dir, message, FAILED)
    except OSError:
        say(message, error=True)
        return FAILED


def _report(run_dir: Path) -> None:
    """Write report.html, of a failed or interrupted run too; that the report fails must not hide how the run ended."""
    with suppress(KeyboardInterrupt):
        try:
            from k15_plugins.report.page import write_report

            say(f"report {shown(write_report(run_dir))}")
        except Exception:
            traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
