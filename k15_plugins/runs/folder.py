"""The run's folder: what stands in it, under which names, and how a later command goes on with it."""

import errno
import fcntl
import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from k15_plugins.files.jsonl import read_lines
from k15_plugins.files.whole import write_whole
from k15_plugins.report.history import METRICS, last_figures

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
STATUS = "status.json"
TRACEBACK = "traceback.txt"
CHECKPOINTS = "checkpoints"
MODEL = "model"
JUDGE = "judge.json"  # in the folder of a reward model
PICTURES = "pictures"
LOCK = "lock"

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a file that can take no more."""
_FULL_WORDS = ("os error 28", "PytorchStreamWriter failed", "inline_container.cc")

# How far a run goes, and where others are that it talks to.
_MAY_DIFFER = (
    "resume",
    "trainer.args.max_steps",
    "trainer.args.vllm_server_host",
    "trainer.args.vllm_server_port",
    "backend.address",
    "rewards.pool",
    "rewards.address",
    "rewards.workers",
    "stage.workers",
)
# Any layout can load a checkpoint of Megatron.
_MEGATRON = "k15_plugins.runs.megatron.MegatronBackend"
_MEGATRON_MAY_DIFFER = (
    "backend.processes",
    "backend.nodes",
    "backend.tensor_parallel",
    "backend.pipeline_parallel",
    "backend.virtual_pipeline",
    "backend.expert_parallel",
    "backend.sequence_parallel",
    "backend.max_tokens_per_micro_batch",
)
# A pipeline finds out itself which of its steps are out of date.
_MAY_DIFFER_BELOW = ("stage.steps.", "stage.given")
_PACKAGES = (
    "k15-plugins",
    "trl",
    "transformers",
    "torch",
    "accelerate",
    "datasets",
    "peft",
    "hydra-core",
    "reasoning-gym",
    "math-verify",
)


def read_config(run_dir: Path) -> dict[str, Any]:
    """Read the resolved config of a run.

    Args:
        run_dir: The run's folder.

    Raises:
        ValueError: If the folder holds no run.
    """
    path = run_dir / CONFIG
    if not path.is_file():
        raise ValueError(f"{run_dir} is not the folder of a run, for it has no {CONFIG}; give one that a run printed.")
    return yaml.safe_load(path.read_text())


def open_folder(run_dir: Path, config: dict[str, Any], in_sweep: bool = False) -> int:
    """Make the folder of a new run, or check that `config` goes on with the run that stands there.

    The folder is then held: no other process can open it until the descriptor is closed here and in every process
    that it was passed to.

    Args:
        run_dir: The run's folder.
        config: The resolved config. With its key `resume` set, the folder must hold a run with the
            same config; only `resume`, `trainer.args.max_steps`, the address of a server, a layout of Megatron and the
            steps of a pipeline may differ.
        in_sweep: Whether it is a job of a sweep, which may have been ended before this job began.

    Returns:
        The file descriptor that holds the folder.

    Raises:
        ValueError: If the folder holds a run and `resume` is not set, holds none and it is, the configs differ, or
            another process is at work in the folder.
    """
    begun = (run_dir / CONFIG).exists()
    if config["resume"] is not None and (begun or not in_sweep):
        check_same_config(read_config(run_dir), config)
    elif begun:
        raise ValueError(f"{run_dir} already holds a run; go on with it by resume={run_dir}, or take another folder.")
    run_dir.mkdir(parents=True, exist_ok=True)
    held = _hold(run_dir)
    # A kill must not leave half a config.
    write_whole(run_dir / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    (run_dir / ENVIRONMENT).write_text(json.dumps(environment(), indent=1))
    write_status(run_dir, state="running", started=time.time())
    return held


def is_finished(run_dir: Path, config: dict[str, Any]) -> bool:
    """Tell whether a folder holds a run that is finished and that `config` leaves nothing to do for.

    Args:
        run_dir: The run's folder.
        config: The resolved config of the command that goes on.
    """
    if not (run_dir / STATUS).exists() or read_status(run_dir)["state"] != "finished":
        return False
    return {**read_config(run_dir), "resume": None} == {**config, "resume": None}


def _hold(run_dir: Path) -> int:
    descriptor = os.open(run_dir / LOCK, os.O_CREAT | os.O_RDWR)
    try:
        # The lock ends with the last process that has the descriptor, however that process ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(f"{run_dir} is in use by another process; stop it first, or wait until it ends.") from None
    return descriptor


def check_same_config(saved: dict[str, Any], config: dict[str, Any]) -> None:
    """Refuse to go on with a run under another config.

    Args:
        saved: Config of the run's folder.
        config: Config of this command.

    Raises:
        ValueError: Naming the first key that differs.
    """
    before, now = flat(saved), flat(config)
    known = _MAY_DIFFER + (_MEGATRON_MAY_DIFFER if before.get("backend._target_") == _MEGATRON else ())
    for key in sorted(before.keys() | now.keys()):
        may_differ = key in known or key.startswith(_MAY_DIFFER_BELOW)
        if not may_differ and before.get(key) != now.get(key):
            raise ValueError(
                f"resume: {key} was {before.get(key, 'not set')} in the run and is {now.get(key, 'not set')} now; "
                "give the same command, or start a new run."
            )


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested dicts and lists to dotted keys: `{"a": {"b": [1]}}` becomes `{"a.b.0": 1}`.

    Args:
        node: Plain dicts, lists and values.
        prefix: Dotted key of `node` itself.
    """
    if isinstance(node, dict | list) and node:
        children = node.items() if isinstance(node, dict) else enumerate(node)
        return {
            key: value
            for name, child in children
            for key, value in flat(child, f"{prefix}.{name}" if prefix else str(name)).items()
        }
    return {prefix: node}


def read_status(run_dir: Path) -> dict[str, Any]:
    """Read how a run stands: `state` (running, finished, failed, interrupted), `error`, `figures`, times in seconds.

    Args:
        run_dir: The run's folder.
    """
    return json.loads((run_dir / STATUS).read_text())


def write_status(run_dir: Path, **status: Any) -> None:
    """Write how a run stands, at once or not at all.

    Args:
        run_dir: The run's folder.
        **status: `state`, and what is known: `error`, `figures`, `started`, `seconds`.
    """
    write_whole(run_dir / STATUS, json.dumps(status, indent=1))


def finish(run_dir: Path, state: str, error: str | None = None) -> None:
    """Close the status of a run that is running; the first verdict stays, so that the cause is not lost.

    Args:
        run_dir: The run's folder.
        state: `finished`, `failed` or `interrupted`.
        error: Why it did not finish, in one sentence.
    """
    status = read_status(run_dir)
    if status["state"] == "running":
        status["seconds"] = round(time.time() - status["started"], 1)
        status["figures"] = last_figures(read_lines(run_dir / METRICS))
        write_status(run_dir, **status | {"state": state, "error": error})


def why_not_written(error: OSError) -> str:
    """Say in a sentence why a run's folder cannot be written to.

    Args:
        error: What was raised.
    """
    place = error.filename or "the run's folder"
    if error.errno in FULL:
        return (
            f"{place} cannot be written, for the disk is full; free some space, or give another by hydra.run.dir=..."
        )
    return f"{place} cannot be written ({error.strerror or error}); give another folder by hydra.run.dir=..."


def is_full_disk(error: BaseException | None) -> bool:
    """Tell whether an error comes from a disk that is full, whichever library wrote to it.

    Args:
        error: What was raised.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        # safetensors and torch have errors of their own.
        if any(words in str(error) for words in _FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def environment() -> dict[str, Any]:
    """Return versions, the command, and the state of the source tree."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": versions,
        "git": _git(Path(__file__).parent),
    }


def _git(folder: Path) -> dict[str, Any] | None:
    """Return commit and cleanliness of the repository that holds this package, or None outside of one."""

    def ask(*words: str) -> str:
        return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed package may lie inside some other project's repository, which says nothing about it.
        ask("ls-files", "--error-unmatch", __file__)
        changes = ask("status", "--porcelain", "--", str(folder.parent))
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(changes)}
    except (OSError, subprocess.CalledProcessError):
        return None
