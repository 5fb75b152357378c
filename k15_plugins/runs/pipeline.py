"""Several recipes one after the other, each in a folder of its own, and only those that are out of date."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from k15_plugins.processes import run_apart
from k15_plugins.report.history import METRICS
from k15_plugins.runs import folder

STEP = "step.json"
_REFERENCE = re.compile(r"@(\w+)(/[\w./-]*)?")
# What a run tells of itself, and what is made from it again: a later step does not read them.
_NO_INPUT = (folder.STATUS, folder.LOCK, folder.ENVIRONMENT, "report.html", "report")


def run_pipeline(
    config: dict[str, Any], run_dir: Path, steps: dict[str, list[str]], given: dict[str, str] | None = None
) -> None:
    """Run the steps that have no finished result for the same command on the same inputs.

    A step is a command of `k15`. `@NAME` in it stands for the folder of an earlier step, `@NAME/model` for the model
    that the step leaves. These folders are its inputs, and so is every other file or folder that its composed config
    names. A step that a kill has stopped goes on; the folder of one whose command or inputs have changed is kept
    beside the new one, under a number. A step that only given steps need does not run.

    Args:
        config: The resolved config.
        run_dir: The pipeline's folder; each step has the folder of its name there.
        steps: Name of a step to the words of its command; null leaves a step out.
        given: Name of a step to the folder of a model to take instead of running it.

    Raises:
        ValueError: If a step refers to one that does not come before it, a given model is missing, or a step fails; or
            if the pipeline itself is to have several processes.
    """
    if config["backend"]["processes"] != 1:
        raise ValueError(
            f"backend.processes={config['backend']['processes']}: a pipeline is one process; "
            "give backend.processes to the steps that train."
        )
    given = given or {}
    steps = {name: words for name, words in steps.items() if words is not None}
    check_steps(steps, given)
    names = needed_steps(steps, given)
    for number, name in enumerate(names, start=1):
        place = run_dir / name
        words = [_filled(word, run_dir, given) for word in steps[name]]
        composed = _composed(name, words)
        told = f"k15: step {number} of {len(names)}, {name}"
        state = {
            "command": words,
            "config": composed,
            "inputs": {path: fingerprint(Path(path)) for path in _inputs(yaml.safe_load(composed), run_dir)},
        }
        if (place / STEP).exists() and json.loads((place / STEP).read_text()) != state:
            print(
                f"{told}: its command, config or inputs have changed; the old folder is {_move_away(place).name}",
                flush=True,
            )
        if (place / folder.STATUS).exists() and folder.read_status(place)["state"] == "finished":
            print(f"{told}: nothing has changed since it finished", flush=True)
            continue
        place.mkdir(parents=True, exist_ok=True)
        (place / STEP).write_text(json.dumps(state, indent=1))
        begun = (place / folder.CONFIG).exists()
        print(f"{told}{', going on' if begun else ''}: k15 {' '.join(words)}", flush=True)
        where = f"resume={place}" if begun else f"hydra.run.dir={place}"
        command = [sys.executable, "-m", "k15_plugins", *words, where]
        if run_apart(command):
            error = folder.read_status(place)["error"] if (place / folder.STATUS).exists() else "it was refused"
            raise ValueError(f"step {name} failed: {error} (its folder: {place}).")
    _show_results_of(run_dir / names[-1], run_dir)


def check_steps(steps: dict[str, list[str]], given: dict[str, str]) -> None:
    """Refuse a pipeline that could not run to its end.

    Args:
        steps: Name of a step to the words of its command.
        given: Name of a step to the folder of a model to take instead.

    Raises:
        ValueError: Naming the step and the cure.
    """
    for name, path in given.items():
        if name not in steps:
            raise ValueError(f"stage.given.{name} is no step; take one of {', '.join(steps)}.")
        if not Path(path).is_dir():
            raise ValueError(f"stage.given.{name}={path} does not exist; give the folder of a model.")
    needed = needed_steps(steps, given)
    if not needed:
        raise ValueError("stage.given leaves no step to run; take one out of it.")
    known: list[str] = []
    for name, words in steps.items():
        if name not in needed:
            known.append(name)
            continue
        for match in _REFERENCE.finditer(" ".join(words)):
            if match[1] not in known:
                raise ValueError(
                    f"stage.steps.{name} refers to @{match[1]}, which is no earlier step; "
                    f"it may refer to {', '.join(known) or 'none'}."
                )
            if match[1] in given and match[2] != f"/{folder.MODEL}":
                raise ValueError(
                    f"stage.given.{match[1]} is a model only, and step {name} needs {match[0]}; "
                    f"let step {match[1]} run, or give {name} as well."
                )
        known.append(name)


def needed_steps(steps: dict[str, list[str]], given: dict[str, str]) -> list[str]:
    """Return the steps that have to run: not given, and not made only for steps that do not run.

    Args:
        steps: Name of a step to the words of its command.
        given: Name of a step to the folder of a model to take instead.
    """
    users: dict[str, list[str]] = {name: [] for name in steps}
    for name, words in steps.items():
        for match in _REFERENCE.finditer(" ".join(words)):
            users.setdefault(match[1], []).append(name)
    needed: list[str] = []
    # The users of a step come after it.
    for name in reversed(steps):
        if name not in given and (not users[name] or any(user in needed for user in users[name])):
            needed.insert(0, name)
    return needed


def fingerprint(path: Path) -> dict[str, list[int]]:
    """Tell the state of a folder's files without reading them: name to size in bytes and time of change in ns.

    What a run tells of itself (status, lock, report) is left out: it may be written anew.

    Args:
        path: File or folder.
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    names = {file: file.relative_to(path) for file in files}
    return {
        str(name): [file.stat().st_size, file.stat().st_mtime_ns]
        for file, name in names.items()
        if not name.parts or name.parts[0] not in _NO_INPUT
    }


def _composed(name: str, words: list[str]) -> str:
    """Return the config of a step as text, so that a change of its recipe is seen as well."""
    command = [sys.executable, "-m", "k15_plugins", *words, "--cfg", "job", "--resolve"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"step {name} is refused: {done.stderr.strip().removeprefix('k15: ')}")
    return done.stdout


def _filled(word: str, run_dir: Path, given: dict[str, str]) -> str:
    return _REFERENCE.sub(lambda match: str(_place(match, run_dir, given)), word)


def _inputs(config: dict[str, Any], run_dir: Path) -> list[str]:
    """Return the files and folders that a config names, but for those that hold the pipeline itself."""
    values = {value for value in folder.flat(config).values() if isinstance(value, str) and os.path.exists(value)}
    return sorted(value for value in values if not run_dir.resolve().is_relative_to(Path(value).resolve()))


def _place(match: re.Match[str], run_dir: Path, given: dict[str, str]) -> Path:
    return Path(given[match[1]]) if match[1] in given else Path(f"{run_dir / match[1]}{match[2] or ''}")


def _show_results_of(step: Path, run_dir: Path) -> None:
    """The last step's figures and pictures are the pipeline's: its report shows them."""
    for result in (METRICS, "evaluation.json", "answers.json"):
        if (step / result).exists():
            shutil.copy2(step / result, run_dir / result)
    if (step / folder.PICTURES).exists():
        shutil.copytree(step / folder.PICTURES, run_dir / folder.PICTURES, dirs_exist_ok=True)


def _move_away(place: Path) -> Path:
    number = 1
    while (old := place.with_name(f"{place.name}.old{number}")).exists():
        number += 1
    return place.rename(old)
