"""A job works out its rewards in the pool of its config, and says before its stage what keeps it from that."""

import pytest
import yaml

from k15_plugins.runs import folder, job
from k15_plugins.sandbox import pool

STAGE = """
from k15_plugins.sandbox import pool


def say_workers(config, run_dir):
    (run_dir / "workers").write_text(str(pool.workers()))
"""


def _write(run_dir, config):
    (run_dir / folder.CONFIG).write_text(yaml.safe_dump(config))
    folder.write_status(run_dir, state="running", started=0.0)


@pytest.mark.parametrize(
    ("rewards", "workers"), [({"pool": "loky", "address": None, "workers": 3}, "3"), (None, str(pool.workers()))]
)
def test_a_job_has_the_workers_of_its_config(rewards, workers, tmp_path, monkeypatch):
    (tmp_path / "stage_that_says_workers.py").write_text(STAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = {"seed": 0, "stage": {"_target_": "stage_that_says_workers.say_workers"}, "rewards": rewards}
    _write(tmp_path, config)
    assert job._run(tmp_path) == 0
    assert (tmp_path / "workers").read_text() == workers
    pool.use()


def test_a_cluster_that_is_not_there_is_told_before_the_stage(tmp_path, monkeypatch):
    (tmp_path / "stage_that_says_workers.py").write_text(STAGE)
    monkeypatch.syspath_prepend(str(tmp_path))

    def nowhere(address):
        raise ConnectionError(f"rewards.address must be the address of a running Ray cluster, got {address!r}")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr("k15_plugins.sandbox.ray_backend.join", nowhere)
    stage = {"_target_": "stage_that_says_workers.say_workers"}
    config = {"seed": 0, "stage": stage, "rewards": {"pool": "ray", "address": "a:1"}}
    _write(tmp_path, config)
    assert job._run(tmp_path) == job.REFUSED
    assert "got 'a:1'" in folder.read_status(tmp_path)["error"]
    assert not (tmp_path / "workers").exists()
