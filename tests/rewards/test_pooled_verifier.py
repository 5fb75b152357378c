"""Samples are shared among the pool's workers, and their verdicts are those of one guarded process."""

import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from k15_plugins.rewards.pooled_verifier import PooledVerifier
from k15_plugins.rewards.verify import GuardedVerifier
from k15_plugins.sandbox import pool

JUDGE = "verifiers_gone_wrong:judge"
MIXED = [
    *[("pass", n % 5) for n in range(20)],
    *[(what, n) for n in range(6) for what in ("fail", "raise", "die", "segfault", "kill the parent")],
    *[("loop",), ("fail",), ("nothing",), ("raise", 0), ("pass from now on",), ("fail", 99), ("leave",)],
]


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    pool.use(workers=2)
    yield
    pool.use()


@pytest.fixture
def verifier():
    return PooledVerifier(JUDGE, timeout_seconds=1.0)


def test_verdicts_are_those_of_one_guarded_process(verifier):
    verdicts = verifier(MIXED)
    alone = GuardedVerifier(JUDGE, timeout_seconds=1.0)(MIXED)
    assert verdicts.scores == alone.scores
    assert verdicts.failures == alone.failures
    assert verdicts.scores.count(1.0) == 20
    assert len(verdicts.failures) == 6 * 4 + 4


def test_both_workers_verify_and_equal_samples_are_verified_once(verifier):
    parents = verifier([("parent", n) for n in range(64)]).scores
    assert len(set(parents)) == 2
    assert len(set(verifier([("pid",)] * 30).scores)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_sample_that_ends_its_worker_costs_only_itself(verifier):
    samples = [("pass", n) for n in range(40)]
    samples[17] = ("kill the worker",)
    scores, failures = verifier(samples)
    assert scores == [float(n != 17) for n in range(40)]
    assert list(failures) == [17]
    assert "terminated" in failures[17]


def test_one_worker_verifies_in_a_process_of_this_one():
    pool.use(workers=1)
    (process,) = PooledVerifier("os:getppid", timeout_seconds=2.0)([()]).scores
    pool.use(workers=2)
    (parent,) = PooledVerifier("verifiers_gone_wrong:judge", timeout_seconds=2.0)([("parent",)]).scores
    assert process not in (parent, os.getpid())
    with open(f"/proc/{int(process)}/stat") as stat:
        assert int(stat.read().rsplit(")", 1)[1].split()[1]) == os.getpid()


def test_threads_and_pickled_copies_share_the_workers(verifier):
    copies = [verifier, pickle.loads(pickle.dumps(verifier))] * 3
    with ThreadPoolExecutor(3) as threads:
        scores = list(threads.map(lambda each: each([("pass",), ("fail",)]).scores, copies))
    assert scores == [[1.0, 0.0]] * 6


def test_what_cannot_be_loaded_is_refused_and_nothing_is_started_for_no_samples():
    verifier = PooledVerifier("no_such_module:judge")
    assert verifier([]) == ([], {})
    with pytest.raises(
        RuntimeError, match=r"'no_such_module:judge' cannot be loaded.*No module named 'no_such_module'"
    ):
        verifier([("x",)])
    with pytest.raises(ValueError, match="timeout_seconds=0 must be above 0"):
        PooledVerifier(JUDGE, timeout_seconds=0)
