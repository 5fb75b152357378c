"""The pool runs a function on many items, and an item that fails, or ends its worker, costs only itself."""

import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from k15_plugins.sandbox import pool

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    pool.use(workers=2)
    yield
    pool.use()


def test_values_come_in_the_order_of_the_items_with_a_text_for_each_that_failed():
    values = pool.map("math:sqrt", [4, -1, 9, "x", 16])
    assert values == [2.0, "ValueError: math domain error", 3.0, "TypeError: must be real number, not str", 4.0]
    assert [isinstance(value, pool.Failed) for value in values] == [False, True, False, True, False]


def test_a_function_goes_by_name_or_itself_and_a_name_that_is_none_fails():
    assert pool.map(abs, range(-2, 2)) == [2, 1, 0, 1]
    assert pool.map("builtins:abs", []) == []
    assert pool.map("no_such_module:judge", [1]) == ["ModuleNotFoundError: No module named 'no_such_module'"]
    assert pool.map(sys.exit, [3]) == ["SystemExit: 3"]


def test_work_is_shared_and_workers_live_from_batch_to_batch():
    def slow(_):
        time.sleep(0.02)
        return os.getpid()

    pids = {*pool.map(slow, range(20)), *pool.map(slow, range(20))}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_a_slow_item_holds_up_no_other():
    def wait(seconds):
        time.sleep(seconds)
        return os.getpid()

    slow, *quick = pool.map(wait, [3.0] + [0.01] * 20)
    assert slow not in quick


def test_an_item_that_ends_its_worker_costs_only_itself():
    def end(item):
        if item in (3, 9):
            os.kill(os.getpid(), 9)
        return item

    values = pool.map(end, range(10))
    assert [index for index, value in enumerate(values) if value != index] == [3, 9]
    assert all(
        "a worker process managed by the executor was unexpectedly terminated" in values[n].lower() for n in (3, 9)
    )
    assert pool.map(abs, [-1]) == [1]


def test_threads_share_the_pool():
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(partial(pool.map, abs), [range(-n, 0) for n in range(1, 9)]))
    assert found == [list(range(n, 0, -1)) for n in range(1, 9)]


def test_a_fork_works_by_itself_and_leaves_the_workers_to_its_parent():
    pool.map(abs, [1])
    pool.use(workers=2)  # the workers of before are joblib's still
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, pickle.dumps(pool.map(_parent, [0])))
        os._exit(0)
    os.waitpid(child, 0)
    assert pickle.loads(os.read(read, 1000)) == [os.getpid()]  # it ran in the fork itself
    assert pool.map(_parent, [0]) == [os.getpid()]  # and here in a worker


def _parent(_):
    return os.getppid()


def test_the_workers_are_the_cores_shared_among_the_processes_of_the_machine(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 7)
    for processes, workers in ((1, 7), (3, 2), (16, 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        pool.use()
        assert pool.workers() == workers
    assert pool.map(_parent, [0]) == [os.getppid()]  # one worker is this process
    pool.use(workers=2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"pool": "dask"}, "rewards.pool must be one of loky, ray, got 'dask'; set rewards.pool=loky."),
        ({"pool": None}, "rewards.pool must be one of loky, ray, got None; set rewards.pool=loky."),
        ({"workers": 0}, "rewards.workers must be a whole number from 1 or null, got 0; set rewards.workers=null."),
        ({"workers": True}, "rewards.workers must be a whole number from 1 or null, got True"),
        ({"pool": "ray"}, "rewards.address must be the address of a Ray cluster for rewards.pool=ray, got None; set"),
        ({"address": "a:1"}, "rewards.address must be null for rewards.pool=loky, got 'a:1'; set rewards.pool=ray"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=r"^rewards\.\w+ must be ") as error:
        pool.use(**arguments)
    assert str(error.value).startswith(sentence)


def test_ray_that_is_missing_is_refused_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"ray is not installed, got 'ray'; run pip install '\.\[ray\]'"):
        pool.use("ray", "127.0.0.1:6379")


def test_workers_end_with_a_killed_process_and_neither_run_its_script_nor_read_its_folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("json", "random", "joblib", "numpy"):  # must not stand in for the libraries' modules
        (folder / f"{name}.py").write_text("raise RuntimeError('the wrong module')\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time\n"
        "print('once', flush=True)\n"
        "from k15_plugins.rewards.pooled_verifier import PooledVerifier\n"
        "from k15_plugins.sandbox import pool\n"
        "pool.use(workers=2)\n"
        "print(PooledVerifier('operator:add')([(1, n) for n in range(8)]).scores, flush=True)\n"
        "time.sleep(1000)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert [process.stdout.readline(), process.stdout.readline()] == ["once\n", f"{[1.0 + n for n in range(8)]}\n"]
    started = _descendants(process.pid)
    assert len(started) >= 4  # two workers, and a guarded process of each
    process.kill()
    _, errors = process.communicate(timeout=60)  # waits for all that hold its pipes
    assert "wrong module" not in errors
    end = time.monotonic() + 30
    while any(_is_running(pid) for pid in started):
        assert time.monotonic() < end
        time.sleep(0.1)


def _descendants(pid):
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [grandchild for child in found for grandchild in _descendants(child)]


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_a_ray_cluster_of_two_nodes_judges_on_both(monkeypatch):
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "180")  # on a busy machine; Ray reads it when it is imported
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    from k15_plugins.rewards import MathReward

    def where(_):
        time.sleep(0.1)
        return ray.get_runtime_context().get_node_id()

    def end(item):
        if item == 3:
            os.kill(os.getpid(), 9)
        return item

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        pool.use("ray", cluster.address)
        assert pool.workers() == 2
        places = Counter(pool.map(where, range(20)))
        assert len(places) == 2
        assert min(places.values()) >= 5
        values = pool.map(end, range(10))
        assert [index for index, value in enumerate(values) if value != index] == [3]
        answers = [str(n // 2 * 2) for n in range(64)]
        rewards = MathReward()([], [rf"\boxed{{{n}}}" for n in range(64)], None, answer=answers)
        assert rewards == [float(n % 2 == 0) for n in range(64)]
    finally:
        pool.use(workers=2)
        ray.shutdown()
        cluster.shutdown()
