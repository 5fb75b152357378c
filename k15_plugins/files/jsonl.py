"""JSONL: one JSON object a line, of runs, which may be killed while they write, and of users, who may mistype."""

import gzip
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

Line = dict[str, Any]


def read_lines(path: Path) -> list[Line]:
    """Read a file of a run; a last line that a kill has cut off is left out.

    Args:
        path: The file; a missing one counts as empty.
    """
    if not path.exists():
        return []
    # Not splitlines(): a text may hold other signs that it takes for line ends.
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading; one whose name ends in `.gz` is unpacked.

    Args:
        path: The file.
    """
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def raw_lines(path: Path) -> Iterator[bytes]:
    """Read the lines of a file of a user as they are, with their ends.

    Args:
        path: The file; one whose name ends in `.gz` is unpacked.

    Raises:
        ValueError: If it should be packed by gzip, and is not, or is cut off.
    """
    try:
        with open_bytes(path) as file:
            yield from file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} must be packed by gzip, as its name says, got a file that cannot be unpacked ({error}); pack it "
            "anew, or rename it."
        ) from error


def read_rows(path: Path) -> Iterator[tuple[str, Line]]:
    """Read a file of a user; empty lines are passed over.

    Args:
        path: The file; one whose name ends in `.gz` is unpacked.

    Yields:
        Where each row stands, in words, and the row.

    Raises:
        ValueError: If the file does not exist, or a line is not a JSON object.
    """
    if not path.is_file():
        raise ValueError(f"path must be a file, got {path}, which does not exist; correct the path.")
    for number, content in enumerate(raw_lines(path), 1):
        place = f"{path}, line {number}"
        try:
            line = content.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{place} must be in UTF-8, got the byte {content[error.start]:#04x} at {error.start + 1}; "
                "convert the file, as by iconv -f latin1 -t utf-8."
            ) from error
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{place} must be a JSON object, got {line.strip()!r:.100} ({error}).") from error
        if not isinstance(row, dict):
            raise ValueError(f"{place} must be a JSON object, got {line.strip()!r:.100}.")
        yield place, row


def append_lines(path: Path, lines: Iterable[Line]) -> None:
    """Add lines to a file; NaN and infinity, which JSON does not know, become null.

    Args:
        path: The file, which is made if it is missing.
        lines: The lines.
    """
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(_plain(line), ensure_ascii=False) + "\n" for line in lines)


def drop_half_line(path: Path) -> None:
    """Cut off the last line of a file if a kill left it without its end.

    Args:
        path: The file.
    """
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def put_in_order(path: Path, key: Callable[[Line], Any]) -> None:
    """Sort the lines of a file, which may be larger than memory.

    Args:
        path: The file; it is replaced whole.
        key: By what.
    """
    places, offset = [], 0
    with path.open("rb") as file:
        for content in file:
            places.append((key(json.loads(content)), offset))
            offset += len(content)
        half = path.with_name(f".{path.name}.{os.getpid()}.half")
        with half.open("wb") as ordered:
            for _, place in sorted(places):
                file.seek(place)
                ordered.write(file.readline())
    os.replace(half, path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
