"""Complete checkpoints: what a trainer adds to a checkpoint of transformers, and how an unusable one is refused.

A checkpoint counts as complete when its manifest is there, which is written last, and every file in it has the size
that the manifest says. A run that is killed while it saves thus leaves a folder that is recognised as half.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

MANIFEST = "k15_manifest.json"
_UNFINISHED = f"{MANIFEST}.half"
_NAME = re.compile(r"checkpoint-(\d+)")


def state_file(checkpoint: str | Path, process_index: int) -> Path:
    """Return the file that holds the state of one process beside what transformers saves.

    Args:
        checkpoint: Folder of the checkpoint.
        process_index: Rank of the process.
    """
    return Path(checkpoint) / f"k15_state_{process_index}.pt"


def begin_checkpoint(checkpoint: str | Path) -> None:
    """Mark a checkpoint as one of ours that is being saved; call it before anything is written.

    Args:
        checkpoint: Folder of the checkpoint, which is made.
    """
    Path(checkpoint).mkdir(parents=True, exist_ok=True)
    (Path(checkpoint) / _UNFINISHED).touch()
    (Path(checkpoint) / MANIFEST).unlink(missing_ok=True)  # of a run that went on from further back


def is_half(checkpoint: str | Path) -> bool:
    """Tell whether a checkpoint is one of ours whose saving never ended.

    Args:
        checkpoint: Folder of the checkpoint.
    """
    return (Path(checkpoint) / _UNFINISHED).exists()


def write_manifest(checkpoint: str | Path, layout: dict[str, Any]) -> None:
    """Mark a checkpoint as complete; call it when all processes have written their files.

    Args:
        checkpoint: Folder of the checkpoint.
        layout: Settings that must be the same when the training goes on, JSON values.
    """
    folder = Path(checkpoint)
    sizes = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, _UNFINISHED)
    }
    half = folder / _UNFINISHED
    half.write_text(json.dumps({"layout": layout, "sizes_bytes": sizes}, indent=1))
    os.replace(half, folder / MANIFEST)


def check_checkpoint(checkpoint: str | Path, layout: dict[str, Any] | None = None) -> None:
    """Refuse a checkpoint from which the training could not go on exactly.

    Args:
        checkpoint: Folder of the checkpoint.
        layout: Settings of the training that wants to go on; compared with those of the checkpoint if given.

    Raises:
        ValueError: If the folder is missing, foreign, truncated, or of another layout.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        raise ValueError(f"checkpoint {folder} does not exist; give the folder of a checkpoint.")
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"checkpoint {folder} has no {MANIFEST}: it was not written by k15_plugins, or the run was killed while "
            "it saved; take an older checkpoint."
        )
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, size in manifest["sizes_bytes"].items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            state = "missing" if found is None else f"{found} bytes long instead of {size}"
            raise ValueError(f"checkpoint {folder} is truncated: {name} is {state}; take an older checkpoint.")
    for name, value in (layout or {}).items():
        saved = manifest["layout"].get(name)
        if saved != value:
            raise ValueError(
                f"checkpoint {folder} was made with {name}={saved} but the training has {name}={value}; "
                "make them equal."
            )


def checkpoints_in(folder: str | Path) -> dict[int, Path]:
    """Return the checkpoints in the folder of a run by their steps, the oldest first, half ones among them.

    Args:
        folder: The trainer's `output_dir`; anything in it that is not named `checkpoint-NUMBER` is left alone.
    """
    found = {path: _NAME.fullmatch(path.name) for path in Path(folder).glob("checkpoint-*") if path.is_dir()}
    return dict(sorted((int(match[1]), path) for path, match in found.items() if match))


def latest_checkpoint(folder: str | Path) -> Path | None:
    """Return the newest complete checkpoint in the folder of a run, or None.

    Args:
        folder: The trainer's `output_dir`.
    """
    for candidate in reversed(checkpoints_in(folder).values()):
        try:
            check_checkpoint(candidate)
        except ValueError:
            continue
        return candidate
    return None
