"""Folders that are there whole or not at all."""

import os
import shutil
from pathlib import Path


class half_folder:
    """A folder beside the wanted one, which takes its place when all has gone well.

    Args:
        output (`Path`): The wanted folder.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.half = output.with_name(f".{output.name}.half")

    def __enter__(self) -> Path:
        shutil.rmtree(self.half, ignore_errors=True)  # of a merge that was killed
        self.half.mkdir(parents=True)
        return self.half

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            os.replace(self.half, self.output)
        else:
            shutil.rmtree(self.half)
