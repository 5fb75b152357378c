"""Going on with a run or a sweep by its folder alone, and the command that does so."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import yaml

from k15_plugins.files.jsonl import read_lines
from k15_plugins.report.history import METRICS
from k15_plugins.runs import folder
from k15_plugins.trainers.checkpoint import check_checkpoint, checkpoints_in, is_half

# Hydra writes these: of a run, and of a sweep.
RUN, SWEEP = Path(".hydra") / "hydra.yaml", Path("multirun.yaml")
# A resumed run stays where it is, whatever put it there.
_PLACES = ("hydra.run.dir", "hydra.sweep.dir", "hydra.mode", "resume")
_NEEDS_QUOTES = re.compile(r"[^\w./:@%+-]")


def own_words(argv: list[str]) -> list[str]:
    """Add to a command that only says `resume=FOLDER` the words by which that run or sweep was started.

    Args:
        argv: Arguments, without the program. With a recipe among them they are left as they are; of
            other words, those given now win (and are refused later where the run may not change).

    Raises:
        ValueError: If the folder is missing, or holds neither a run nor a sweep.
    """
    words = [word for word in argv if word.startswith("resume=")]
    if not words or any(_key(word) == "recipe" for word in argv):
        return argv
    place = Path(words[-1].removeprefix("resume=").strip("'\""))
    if not place.is_dir():
        raise ValueError(
            f"resume must be the folder of a run, got {place}, which is none; set the folder that a run printed."
        )
    swept = (place / SWEEP).is_file() and not (place / folder.CONFIG).exists()
    file = place / (SWEEP if swept else RUN)
    if not file.is_file():
        raise ValueError(
            f"{place} is not the folder of a run, for it has no {folder.CONFIG}; give one that a run printed."
        )
    hydra = yaml.safe_load(file.read_text(encoding="utf-8"))["hydra"]
    given = {_key(word) for word in argv}
    saved = [
        word
        for word in [*hydra["overrides"]["hydra"], *hydra["overrides"]["task"]]
        if _key(word) not in given and _key(word) not in _PLACES
    ]
    options = ["-m"] if swept and not {"-m", "--multirun"} & set(argv) else []
    for source in hydra["runtime"]["config_sources"]:
        if source["provider"] == "command-line" and "--config-dir" not in argv:
            options += ["--config-dir", source["path"]]
    return [*options, *saved, *argv]


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def shown(path: Path) -> str:
    """Return a path as it is typed here: relative where it lies below the current folder.

    Args:
        path: The path.
    """
    below = path.absolute()
    return str(below.relative_to(Path.cwd())) if below.is_relative_to(Path.cwd()) else str(below)


def command(run_dir: Path) -> str:
    """Return the command that goes on with a run or a sweep, to be pasted into a shell.

    Args:
        run_dir: Folder of the run or the sweep.
    """
    path = shown(run_dir)
    if _NEEDS_QUOTES.search(path):
        path = f"'{path}'"  # for Hydra
    return f"{_program()} {shlex.quote(f'resume={path}')}"


def python() -> str:
    """Return what starts this Python from a shell."""
    found = shutil.which("python")
    if found is not None and Path(found).parent == Path(sys.executable).parent:
        return "python"
    return shlex.quote(shown(Path(sys.executable)))


def _program() -> str:
    name = Path(sys.argv[0]).name
    if name == "__main__.py":
        return f"{python()} -m k15_plugins"
    if name.endswith(".py"):
        return f"{python()} {shlex.quote(shown(Path(sys.argv[0])))}"
    found = shutil.which(name)
    return name if found and Path(found).samefile(sys.argv[0]) else shlex.quote(shown(Path(sys.argv[0])))


def reached(run_dir: Path) -> int | None:
    """Return the step of the checkpoint from which a run would go on, or None if it has none or a damaged one.

    Args:
        run_dir: The run's folder.
    """
    complete = [path for path in checkpoints_in(run_dir / folder.CHECKPOINTS).items() if not is_half(path[1])]
    if not complete:
        return None
    step, newest = complete[-1]
    try:
        check_checkpoint(newest)
    except ValueError:
        return None
    return step


def how_to_go_on(run_dir: Path) -> str:
    """Return the sentence, and in a line of its own the command, that goes on with a run which did not finish.

    Args:
        run_dir: The run's folder.
    """
    step = reached(run_dir)
    results = (f"*/{folder.STATUS}", "samples*", "problems.jsonl", "dropped.jsonl", "phases/*/model")
    others = any(any(run_dir.glob(name)) for name in results)
    if step is not None:
        lines = [line for line in read_lines(run_dir / METRICS) if line["step"] == step]
        of_rollouts = any("k15/rho_abs_mean" in line for line in lines)
        place = f"iteration {1 + lines[0]['iteration']}" if of_rollouts else f"update {step}"
        place = f"go on from the checkpoint of {place}"
    elif others:
        place = "what it has done so far is kept; go on"
    else:
        place = "nothing was saved yet; begin again"
    return f"{place} by\n{command(run_dir)}"
