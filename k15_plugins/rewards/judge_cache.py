"""What a judge wrote, kept so that the same prompt is not asked twice, and across runs in a file."""

import fcntl
import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path


class JudgeCache:
    """Texts of a judge by their prompts; those that were not used for longest are forgotten.

    The file takes lines of several processes at once, and of one that is killed over a line: that line is passed over.
    It holds all that was written, whatever memory forgets; a process reads it when it starts.

    Args:
        identity: Which judge wrote, and how: with another one nothing in the file counts.
        size: Texts in memory.
        path: A JSONL file, made if it is missing; None to forget with the process.
    """

    def __init__(self, identity: str, size: int, path: Path | None = None) -> None:
        self._identity = identity
        self._size = size
        self._path = path
        self._texts: OrderedDict[str, str] = OrderedDict()
        if path is not None and path.exists():
            with path.open("rb") as file:
                for line in file:
                    self._read(line)

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, prompt: str) -> str | None:
        """Return what was written for a prompt, or None.

        Args:
            prompt: What the judge read.
        """
        key = self._key(prompt)
        if key in self._texts:
            self._texts.move_to_end(key)
        return self._texts.get(key)

    def put(self, written: Mapping[str, str]) -> None:
        """Keep texts.

        Args:
            written: Texts by their prompts.
        """
        lines = {self._key(prompt): text for prompt, text in written.items()}
        for key, text in lines.items():
            self._keep(key, text)
        if self._path is not None and lines:
            _append(self._path, [{"key": key, "text": text} for key, text in lines.items()])

    def _key(self, prompt: str) -> str:
        return hashlib.sha256(json.dumps([self._identity, prompt]).encode()).hexdigest()

    def _keep(self, key: str, text: str) -> None:
        self._texts[key] = text
        self._texts.move_to_end(key)
        if len(self._texts) > self._size:
            self._texts.popitem(last=False)

    def _read(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            key, text = row["key"], row["text"]
        except (ValueError, KeyError, TypeError, RecursionError):  # of a process that was killed over it
            return
        if isinstance(key, str) and isinstance(text, str):
            self._keep(key, text)


def _append(path: Path, rows: list[dict[str, str]]) -> None:
    """Add whole lines, one process after the other, behind a half line if there is one."""
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
        before = b"\n" if end and file.read(1) != b"\n" else b""
        left = memoryview(before + b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        while left:
            left = left[file.write(left) :]
