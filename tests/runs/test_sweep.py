"""Sweeps: each job its own process, one table at the end, whatever the launcher."""

import csv
import json

import pytest
from test_cli import k15, status  # noqa: F401

from k15_plugins.runs.sweep import read_jobs, summarize


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


@pytest.mark.parametrize("launcher", ["joblib", pytest.param("submitit_local", marks=pytest.mark.slow)])
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
    assert lines == [1, 1, 1]  # what is finished is not run again
    assert "| all | 3/3 | 2 ± 1 |" in (k15.folder / "sweep" / "sweep.md").read_text()
    assert json.loads((k15.folder / "sweep" / "2" / "status.json").read_text())["figures"]["score"] == 3


@pytest.mark.slow
def test_what_ended_badly_or_has_another_config_goes_on(k15):  # noqa: F811
    assert (
        k15("+recipe=stub", "-m", "seed=1,2,3", "+trainer.args.max_steps=1", "hydra.sweep.dir=sweep").returncode == 0
    )
    for job, change in (("0", {"state": "failed"}), ("1", {"state": "running"})):
        file = k15.folder / "sweep" / job / "status.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert k15("+recipe=stub", "-m", "seed=1,2,3", "+trainer.args.max_steps=1", "resume=sweep").returncode == 0

    def lines():
        return [len((k15.folder / "sweep" / job / "metrics.jsonl").read_text().splitlines()) for job in "012"]

    assert lines() == [2, 2, 1]
    assert k15("+recipe=stub", "-m", "seed=1,2,3", "+trainer.args.max_steps=2", "resume=sweep").returncode == 0
    assert lines() == [3, 3, 2]


@pytest.mark.parametrize(
    "subdir",
    [pytest.param("${hydra.job.override_dirname}", marks=pytest.mark.slow), "by/${hydra.job.override_dirname}"],
)
def test_the_folders_of_jobs_may_have_any_names(k15, subdir):  # noqa: F811
    words = ("+recipe=stub", "-m", "stage.value=9,10,-1", "hydra.sweep.dir=sweep", f"hydra.sweep.subdir={subdir}")
    done = k15(*words)
    assert done.returncode == 1
    assert "2 of 3 jobs finished" in done.stdout
    rows = list(csv.DictReader((k15.folder / "sweep" / "sweep.csv").open()))
    assert [row["score"] for row in rows] == ["9", "10", "-1"]
    assert all(row["job"].endswith(f"stage.value={row['score']}") for row in rows)


def test_a_job_that_was_killed_is_told_of(k15):  # noqa: F811
    assert k15("+recipe=stub", "-m", "seed=1,2", "hydra.sweep.dir=sweep").returncode == 0
    sweep = k15.folder / "sweep"
    # As a killed launcher leaves it.
    (sweep / "1" / "status.json").write_text(json.dumps({"state": "running", "started": 1.0}))
    summarize(sweep, read_jobs(sweep), "score")
    table = (sweep / "sweep.md").read_text()
    assert "| all | 1/2 | 1 |" in table
    assert "- job 1 (+recipe=stub seed=2) running: it was killed, or is not done yet" in table


def test_a_sweep_over_recipes_has_a_folder(k15):  # noqa: F811
    done = k15("+recipe=stub,missing", "-m")
    assert done.returncode == 2
    assert "recipe has no option missing" in done.stderr
    (k15.folder / "conf" / "recipe" / "other.yaml").write_text(
        (k15.folder / "conf" / "recipe" / "stub.yaml").read_text()
    )
    assert k15("+recipe=stub,other", "-m", "seed=3").returncode == 0
    assert len(list(k15.folder.glob("multirun/recipes/*/*/[01]/status.json"))) == 2
