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


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise", "ArithmeticError: no such number"),
        ("leave", "SystemExit"),
        ("sleep", "time limit of 1.0 s"),
        ("loop", "time limit of 1.0 s"),
        ("hold the lock", "time limit of 1.0 s"),
        ("die", "died with code 7"),
        ("segfault", "died with code -11"),
        ("nothing", "TypeError"),
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


def test_the_process_lives_from_batch_to_batch(verifier):
    pids = {*verifier([("pid",)] * 300).scores, *verifier([("pid",)]).scores}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_a_process_killed_between_batches_is_started_again(verifier):
    for _ in range(5):  # without waiting: the batch may come before, while or after the system ends the process
        (pid,) = verifier([("pid",)]).scores
        os.kill(int(pid), 9)
        assert verifier([("pass",), ("pass",)]) == ([1.0, 1.0], {})


def test_a_process_that_stops_answering_between_batches_shifts_no_verdict(verifier):
    for wanted in ([1.0, 0.0, 1.0], [0.0, 1.0, 1.0]):
        (pid,) = verifier([("pid",)]).scores
        os.kill(int(pid), signal.SIGSTOP)
        Timer(1.5, _continue, [int(pid)]).start()
        assert verifier([("pass",) if score else ("fail",) for score in wanted]) == (wanted, {})


def test_the_process_keeps_to_one_thread(verifier):
    assert verifier([("threads",)]).scores == [1.0]


def test_several_threads_share_a_verifier(verifier):
    batches = [[("pass",), ("raise",)], [("fail",)] * 3, [("sleep",), ("pass",)], [("pass",)] * 5] * 2
    with ThreadPoolExecutor(4) as pool:
        scores = [verdicts.scores for verdicts in pool.map(verifier, batches)]
    assert scores == [[1.0, 0.0], [0.0] * 3, [0.0, 1.0], [1.0] * 5] * 2


def test_a_pickled_copy_has_its_own_process(verifier):
    copy = pickle.loads(pickle.dumps(verifier))
    assert copy.timeout_seconds == 1.0
    assert copy([("pid",)]).scores != verifier([("pid",)]).scores


def test_a_fork_has_its_own_process(verifier):
    (before,) = verifier([("pid",)]).scores
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(verifier([("pid",)]).scores[0]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    in_fork = float(os.read(read, 100))
    assert in_fork not in (before, 0.0)
    assert verifier([("pid",)]).scores == [before]


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
    samples = f"[('say and hang', {str(note)!r})]" if hangs else "[('pid',)]"
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
