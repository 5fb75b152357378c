"""Scores without the guard and tells if the answer was compiled; only the verifier's process imports this file."""

import contextlib
import sys

from k15_plugins.rewards.score_reasoning_gym import _scorer
from k15_plugins.tasks.entries import dump_entry, load_entry


def prepare(task: str, entry: str) -> None:
    """Load the scorer before the fork."""
    _scorer(task, dump_entry(load_entry(entry)["config"]))


def compiles(answer: str, task: str, entry: str) -> float:
    """Score an answer; 1.0 if Python compiled it, or a part that says zq7, on the way."""
    seen = []

    def hook(event, arguments):
        if event == "compile" and "zq7" in str(arguments[0]):
            seen.append(arguments)

    loaded = load_entry(entry)
    sys.addaudithook(hook)  # stays for the life of the process, which is this sample's
    with contextlib.suppress(Exception):
        _scorer(task, dump_entry(loaded["config"])).score_answer(answer, loaded)
    return float(bool(seen))
