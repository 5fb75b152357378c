"""Threads of root's boxes. The kernel limits the number of processes of every user but root, in a box too."""

import os
import signal


def end_crowds(pid: int, most: int) -> None:
    """Kill each process below another that has more threads than it may.

    Args:
        pid: The process whose children, and theirs, are looked at.
        most: Threads that each may have.
    """
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = [int(child) for child in file.read().split()]
    except OSError:  # it has just ended
        return
    for child in children:
        end_crowds(child, most)
        try:
            if os.stat(f"/proc/{child}/task").st_nlink - 2 > most:
                os.kill(child, signal.SIGKILL)
        except OSError:  # it has just ended
            continue
