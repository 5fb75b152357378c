"""Sweeps: each job its own process, one table at the end, whatever the launcher."""

import csv
import json

import pytest
from test_cli import k15, status  # noqa: F401


def jobs(folder):
    return sorted(folder.glob("multirun/stub/*/*/[0-9]"))


def pids(folder):
    return [status(job)["figures"]["pid"] for job in jobs(folder) if "pid" in status(job)["figures"]]


def test_the_command_as_typed_runs_every_job_in_its_own_process(k15):  # noqa: F811
    done = k15("+recipe=stub", "-m", "seed=1,2,3")
    assert done.returncode == 0, done.stderr
    assert len(set(pids(k15.folder))) == 3
    (sweep,) = k15.folder.glob("multirun/stub/*/*")
    assert "| all | 3/3 | 2 ± 1 |" in (sweep / "sweep.md").read_text()
    assert (sweep / "sweep.png").stat().st_size > 1000


def test_a_failing_job_is_recorded_and_the_rest_goes_on(k15):  # noqa: F811
    done = k15("+recipe=stub", "stage.value=-1,5,200", "seed=1,2", "-m")
    assert done.returncode == 1
    (sweep,) = k15.folder.glob("multirun/stub/*/*")
    table = (sweep / "sweep.md").read_text()
    assert "| stage.value=5 | 2/2 | 6.5 ± 0.71 |" in table
    assert "| stage.value=-1 | 0/2 | - |" in table
    assert "value=-1 is negative; give 0 or more." in table
    rows = list(csv.DictReader((sweep / "sweep.csv").open()))
    assert [row["state"] for row in rows] == ["failed", "failed", "finished", "finished", "failed", "failed"]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_other_launchers_work(k15, launcher):  # noqa: F811
    done = k15("+recipe=stub", "-m", "seed=1,2", f"hydra/launcher={launcher}")
    assert done.returncode == 0, done.stderr
    assert len(set(pids(k15.folder))) == 2
    (sweep,) = k15.folder.glob("multirun/stub/*/*")
    assert "| all | 2/2 | 1.5 ± 0.71 |" in (sweep / "sweep.md").read_text()


def test_a_sweep_goes_on_where_it_was_ended(k15):  # noqa: F811
    assert k15("+recipe=stub", "-m", "seed=1,2", "hydra.sweep.dir=sweep").returncode == 0
    done = k15("+recipe=stub", "-m", "seed=1,2,3", "resume=sweep")
    assert done.returncode == 0, done.stderr
    lines = [len((k15.folder / "sweep" / job / "metrics.jsonl").read_text().splitlines()) for job in "012"]
    assert lines == [2, 2, 1]
    assert json.loads((k15.folder / "sweep" / "2" / "status.json").read_text())["figures"]["score"] == 3


def test_a_sweep_over_recipes_has_a_folder(k15):  # noqa: F811
    done = k15("+recipe=stub,missing", "-m")
    assert done.returncode == 2
    assert "recipe has no option missing" in done.stderr
    (k15.folder / "conf" / "recipe" / "other.yaml").write_text(
        (k15.folder / "conf" / "recipe" / "stub.yaml").read_text()
    )
    assert k15("+recipe=stub,other", "-m", "seed=3").returncode == 0
    assert len(list(k15.folder.glob("multirun/recipes/*/*/[01]/status.json"))) == 2
