"""A verifier that raises, hangs or dies costs its own sample only."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer

import pytest

from k15_plugins.rewards.verify import GuardedVerifier

JUDGE = "verifiers_gone_wrong:judge"


@pytest.fixture(scope="module")
def verifier():
    # Longer than a busy machine may stop a process, short enough to wait for.
    return GuardedVerifier(JUDGE, timeout_seconds=1.0)


@pytest.fixture
def quick_verifier():
    """Waits three seconds for its process, not twelve."""
    return GuardedVerifier(JUDGE, timeout_seconds=0.25)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise", "ArithmeticError: no such number"),
        ("leave", "SystemExit"),
        ("sleep", "time limit of 6.0 s by the clock"),
        ("loop", "time limit of 1.0 s"),
        ("hold the lock", "time limit of 1.0 s"),
        ("die", "died with code 7"),
        ("segfault", "died with code -11"),
        ("nothing", "TypeError"),
        ("kill the parent", "died with code -9"),
        ("forge", "died with code -9"),
    ],
)
def test_a_bad_sample_costs_only_itself(verifier, what, reason):
    scores, failures = verifier([("pass",), (what,), ("pass",), ("fail",)])
    assert scores == [1.0, 0.0, 1.0, 0.0]
    assert list(failures) == [1]
    assert reason in failures[1]


def test_bad_samples_at_both_ends_and_in_a_row(verifier):
    scores, failures = verifier([("die",), ("die",), ("pass",), ("raise",), ("die",)])
    assert scores == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert list(failures) == [0, 1, 3, 4]


def test_an_empty_batch_starts_no_process():
    assert GuardedVerifier("no_such_module:judge")([]) == ([], {})


def test_printing_does_not_disturb_the_protocol(verifier):
    assert verifier([("print",), ("fail",), ("print",)]).scores == [1.0, 0.0, 1.0]


def test_the_time_limit_is_of_processor_time(verifier):
    assert verifier([("wait",)]) == ([1.0], {})


def test_the_process_lives_from_batch_to_batch_and_forks_for_each_sample(verifier):
    parents = {*verifier([("parent", n) for n in range(100)]).scores, *verifier([("parent",)]).scores}
    assert len(parents) == 1
    pids = verifier([("pid", n) for n in range(100)]).scores
    assert len({*pids, *parents, os.getpid()}) == 102


def test_equal_samples_are_verified_once(verifier):
    scores, failures = verifier([("pid",), ("raise",), ("pid",), ("fail",), ("raise",), ("pid",)])
    assert len({scores[0], scores[2], scores[5]}) == 1
    assert (scores[1], *scores[3:5]) == (0.0, 0.0, 0.0)
    assert list(failures) == [1, 4]


def test_a_sample_changes_nothing_for_the_next(verifier):
    samples = [("pass from now on",), ("fail",), ("raise",)]
    assert verifier(samples).scores == [0.5, 0.0, 0.0]
    assert verifier(samples[1:]).scores == [0.0, 0.0]


def test_a_sample_that_stops_the_process_costs_only_itself(quick_verifier):
    scores, failures = quick_verifier([("pass",), ("stop the parent",), ("fail",), ("pass", 2)])
    assert scores == [1.0, 0.0, 0.0, 1.0]
    assert failures == {1: "the process did not answer for 3.0 s"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell of such processes")
def test_what_a_sample_leaves_running_is_ended(verifier, tmp_path):
    note = tmp_path / "note"
    (parent,) = verifier([("parent",)]).scores
    assert verifier([("leave a daemon", str(note)), ("pass",)]) == ([1.0, 1.0], {})
    time.sleep(1)
    assert not note.exists()
    assert verifier([("parent",)]).scores == [parent]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_sample_does_not_hold_the_connection(verifier):
    assert verifier([("sockets",)]).scores == [0.0]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the time limit ends it")
def test_a_fork_ends_with_the_process(verifier, tmp_path):
    note = tmp_path / "note"
    (parent,) = verifier([("parent",)]).scores
    with ThreadPoolExecutor(1) as pool:
        verdicts = pool.submit(verifier, [("say and hang", str(note)), ("pass",)])
        pid = _wait_for(lambda: note.exists() and int(note.read_text() or 0))
        os.kill(int(parent), signal.SIGKILL)
        assert verdicts.result() == ([0.0, 1.0], {0: "the process died with code -9"})
    assert not _is_running(pid)


def test_a_process_killed_between_batches_is_started_again(verifier):
    for _ in range(5):  # without waiting: the batch may come before, while or after the system ends the process
        (pid,) = verifier([("parent",)]).scores
        os.kill(int(pid), 9)
        assert verifier([("pass",), ("pass", 2)]) == ([1.0, 1.0], {})


def test_a_process_that_stops_answering_between_batches_shifts_no_verdict(quick_verifier):
    (pid,) = quick_verifier([("parent",)]).scores
    os.kill(int(pid), signal.SIGSTOP)
    Timer(4, _continue, [int(pid)]).start()
    assert quick_verifier([("pass",), ("fail",), ("pass", 2)]) == ([1.0, 0.0, 1.0], {})


def test_a_batch_that_a_stopped_process_does_not_read_is_sent_to_a_new_one(quick_verifier):
    (pid,) = quick_verifier([("parent",)]).scores
    os.kill(int(pid), signal.SIGSTOP)
    rest = "x" * 2_000_000
    samples = [(what, rest, n) for n, what in enumerate(["pass", "fail", "raise", "pass"])]
    scores, failures = quick_verifier(samples)
    assert scores == [1.0, 0.0, 0.0, 1.0]
    assert failures == {2: "ArithmeticError: no such number"}


def test_the_process_keeps_to_one_thread(verifier):
    assert verifier([("threads",)]).scores == [1.0]


def test_several_threads_share_a_verifier(verifier):
    batches = [[("pass",), ("raise",)], [("fail",)] * 3, [("loop",), ("pass",)], [("pass",)] * 5] * 2
    with ThreadPoolExecutor(4) as pool:
        scores = [verdicts.scores for verdicts in pool.map(verifier, batches)]
    assert scores == [[1.0, 0.0], [0.0] * 3, [0.0, 1.0], [1.0] * 5] * 2


def test_a_pickled_copy_has_its_own_process(verifier):
    copy = pickle.loads(pickle.dumps(verifier))
    assert copy.timeout_seconds == 1.0
    assert copy([("parent",)]).scores != verifier([("parent",)]).scores


def test_a_fork_has_its_own_process(verifier):
    (before,) = verifier([("parent",)]).scores
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(verifier([("parent",)]).scores[0]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    in_fork = float(os.read(read, 100))
    assert in_fork not in (before, 0.0)
    assert verifier([("parent",)]).scores == [before]


def test_a_function_that_cannot_be_loaded_is_refused():
    with pytest.raises(
        RuntimeError, match=r"'no_such_module:judge' cannot be loaded.*No module named 'no_such_module'"
    ):
        GuardedVerifier("no_such_module:judge")([("x",)])


def test_a_time_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="timeout_seconds=0 must be above 0"):
        GuardedVerifier(JUDGE, timeout_seconds=0)


def test_a_script_without_main_guard_is_not_run_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('once', flush=True)\n"
        "from k15_plugins.rewards.verify import GuardedVerifier\n"
        "print(GuardedVerifier('operator:add')([(1, 2)]).scores)\n"
    )
    # Files of the working directory must not stand in for the library's modules.
    (tmp_path / "json.py").write_text("raise RuntimeError('the wrong json')\n")
    script = script.rename(tmp_path.parent / f"{tmp_path.name}.py")
    run = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=_env(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.stdout, run.stderr) == ("once\n[3.0]\n", "")


@pytest.mark.parametrize("hangs", [False, True])
def test_the_process_ends_with_its_parent(tmp_path, hangs):
    note = tmp_path / "pid"
    samples = f"[('say and hang', {str(note)!r})]" if hangs else "[('parent',)]"
    code = (
        "import sys, time; from k15_plugins.rewards.verify import GuardedVerifier\n"
        f"verifier = GuardedVerifier({JUDGE!r}, timeout_seconds=3); verdicts = verifier({samples})\n"
        f"open({str(note)!r}, 'w').write(str(int(verdicts.scores[0]))); time.sleep(1000)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env=_env())
    pid = _wait_for(lambda: note.exists() and int(note.read_text() or 0))
    assert _is_running(pid)
    parent.kill()
    parent.wait()
    _wait_for(lambda: not _is_running(pid))


def _env():
    root = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(Path(__file__).parent)])}


def _continue(pid):
    with contextlib.suppress(ProcessLookupError):  # given up and killed before
        os.kill(pid, signal.SIGCONT)


def _is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")
