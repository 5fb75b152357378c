"""Files and folders that are there whole or not at all, whenever the process is killed."""

import os
import shutil
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place and let it take the place when it is complete.

    Args:
        path: The file; one that is there is replaced.
        text: What it is to hold.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    half.write_text(text, encoding="utf-8")
    os.replace(half, path)


class whole_folder:
    """A context that gives a folder beside the wanted one, which takes its place when all has gone well.

    Args:
        output: The wanted folder.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.half = output.with_name(f".{output.name}.half")

    def __enter__(self) -> Path:
        shutil.rmtree(self.half, ignore_errors=True)  # of a process that was killed
        self.half.mkdir(parents=True)
        return self.half

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            os.replace(self.half, self.output)
        else:
            shutil.rmtree(self.half)
