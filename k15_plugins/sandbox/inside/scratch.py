"""The folder that a program may write to: filled before a run, watched while it lasts, emptied after it.

What a program left there is hostile: links to anywhere, folders nobody may enter, trees deeper than any path is long.
It has ended by then, so nothing changes while the folder is emptied.
"""

import itertools
import os
import stat

_MOST_FILES = 4096


def fill(folder: str, files: dict[str, bytes], shared: str, owner: int | None) -> None:
    """Put a run's files into an empty folder, and links to those of all runs.

    Args:
        folder: Where the program will work.
        files: The run's own files, by name.
        shared: A folder that the program cannot write to; each file in it gets a link, so that it is not copied.
        owner: Who gets the run's files; None to leave them.
    """
    for name in os.listdir(shared):
        if name not in files:
            os.symlink(os.path.join(shared, name), os.path.join(folder, name))
    for name, data in files.items():
        descriptor = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with open(descriptor, "wb") as file:
            file.write(data)
            if owner is not None:
                os.fchown(descriptor, owner, owner)


def usage_of_mount(folder: str) -> tuple[int, int]:
    """Return the bytes and the number of files in a folder that is a file system of its own."""
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize, state.f_files - state.f_ffree


def usage_of_tree(folder: str) -> tuple[int, int]:
    """Return the bytes and the number of files in a folder, counting no further than is of interest.

    What cannot be looked into, being closed or deeper than a path can be, counts as more than is allowed.
    """
    total, count, open_folders = 0, 0, [folder]
    while open_folders and count <= _MOST_FILES:
        try:
            with os.scandir(open_folders.pop()) as entries:
                for entry in itertools.islice(entries, _MOST_FILES + 1):
                    count += 1
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(entry.path)
        except FileNotFoundError:  # removed in the meantime
            continue
        except OSError:
            return total, _MOST_FILES + 1
    return total, count


def too_much(usage: tuple[int, int], most_bytes: int) -> bool:
    """Return whether a program has written more than it may, in bytes or in number of files."""
    return usage[0] > most_bytes or usage[1] > _MOST_FILES


def empty(folder: str) -> None:
    """Remove all that is in a folder, without following a link or a long path.

    Args:
        folder: Stays, empty.

    Raises:
        OSError: If something cannot be removed.
    """
    os.chmod(folder, 0o700)
    prefix, counter = os.urandom(8).hex(), itertools.count()
    while names := os.listdir(folder):
        for name in names:
            path = os.path.join(folder, name)
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                os.unlink(path)
                continue
            os.chmod(path, 0o700)
            # Folders inside come up here, so that no path gets longer, and have their turn in the next round.
            for inner in os.listdir(path):
                inner_path = os.path.join(path, inner)
                if stat.S_ISDIR(os.lstat(inner_path).st_mode):
                    os.chmod(inner_path, 0o700)
                    os.rename(inner_path, os.path.join(folder, f"{prefix}.{next(counter)}"))
                else:
                    os.unlink(inner_path)
            os.rmdir(path)
