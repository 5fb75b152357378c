import dataclasses
import marshal
import os
import pickle
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from k15_plugins.sandbox import (
    BwrapSandbox,
    LandlockSandbox,
    Limits,
    Outcome,
    Program,
    SandboxUnavailable,
    Status,
    bwrap,
    compile_cpp,
)
from k15_plugins.sandbox.canary import check_canaries
from k15_plugins.sandbox.local import INSIDE, LocalSandbox
from k15_plugins.sandbox.local_box import LocalBox
from k15_plugins.sandbox.process import BoxDied, ServerProcess

ADD = Program("print(sum(map(int, input().split())))")
GXX = pytest.mark.skipif(not any(path.exists() for path in compile_cpp._COMPILERS), reason="no C++ compiler")


@pytest.fixture(scope="module", params=[BwrapSandbox, LandlockSandbox])
def sandbox(request):
    return request.param()


def test_a_box_answers_many_inputs(sandbox):
    with sandbox.open(ADD) as box:
        outcomes = [box.run(b"%d 1" % n) for n in range(3)]
    assert [outcome.stdout for outcome in outcomes] == [b"1\n", b"2\n", b"3\n"]
    assert all(outcome.status is Status.OK and outcome.exit_code == 0 for outcome in outcomes)
    assert all(0 < outcome.cpu_seconds < 5 and outcome.wall_seconds > 0 for outcome in outcomes)


def test_memory_and_time_are_those_of_the_run(sandbox):
    program = Program(
        "import sys, time\nif sys.argv[1:]:\n    x = bytearray(10 ** 8)\n    end = time.process_time() + 0.2\n"
        "    while time.process_time() < end: pass"
    )
    with sandbox.open(program) as box:
        little, much, after = box.run(), box.run(arguments=["much"]), box.run()
    assert max(little.memory_bytes, after.memory_bytes) < 5e7
    assert 1e8 < much.memory_bytes < 1.5e8
    assert little.cpu_seconds < 0.2 <= much.cpu_seconds


def test_limits_are_the_callers(sandbox):
    limits = Limits(cpu_seconds=0.3, memory_bytes=2**27, output_bytes=1000)
    with sandbox.open(Program("import sys\nexec(sys.argv[1])"), limits) as box:
        flood = box.run(arguments=["print('x' * 1001)"])
        assert (flood.status, flood.stdout) == (Status.KILLED, b"x" * 1000)
        assert box.run(arguments=["print('x' * 999)"]).status is Status.OK
        assert box.run(arguments=["bytearray(2 ** 27)"]).status is Status.FAILED
        work = "import time\nwhile time.process_time() < 0.5: pass"
        assert box.run(arguments=[work]).status is Status.TIMEOUT  # though it ended by itself


def test_packages_can_be_imported_and_not_changed(sandbox, tmp_path):
    (tmp_path / "helper.py").write_text("VALUE = 5")
    if os.geteuid() == 0:  # pytest's folders are closed to others, and root's programs may run as others
        if isinstance(sandbox, LandlockSandbox):
            with pytest.raises(ValueError, match=r"folders that every user may read, got /.*chmod"):
                sandbox.open(Program("", packages=(tmp_path,)))
        for folder in (tmp_path, *tmp_path.parents):
            if not folder.stat().st_mode & 1:
                folder.chmod(0o755)
    with pytest.raises(ValueError, match="packages must be folders"):
        sandbox.open(Program("", packages=(tmp_path / "missing",)))
    program = Program("import helper\nprint(helper.VALUE)\nopen(helper.__file__, 'w')", packages=(tmp_path,))
    with sandbox.open(program) as box:
        outcome = box.run()
    assert (outcome.status, outcome.stdout) == (Status.FAILED, b"5\n")
    assert (tmp_path / "helper.py").read_text() == "VALUE = 5"


def test_files_of_the_program_and_of_a_run(sandbox):
    program = Program("import m\nprint(m.X, open('a').read())", files={"m.py": b"X = 1", "a": b"always"})
    with sandbox.open(program) as box:
        assert box.run(files={"a": b"once"}).stdout == b"1 once\n"
        assert box.run().stdout == b"1 always\n"
        for name in ("../a", "/a", "", ".", "a\0b", "x" * 300):
            with pytest.raises(ValueError, match="files must have plain names"):
                box.run(files={name: b""})
        with pytest.raises(ValueError, match="files must hold at most"):
            box.run(files={"a": bytes(65 * 2**20)})
    with pytest.raises(ValueError, match="files must have plain names"):
        sandbox.open(dataclasses.replace(program, files={"d/a": b""}))


def test_other_languages_are_refused(sandbox, monkeypatch):
    with pytest.raises(ValueError, match="language must be python or cpp, got 'ruby'"):
        sandbox.open(Program("puts 1", "ruby"))
    monkeypatch.setattr(compile_cpp, "_COMPILERS", ())
    with pytest.raises(ValueError, match="install g"):
        sandbox.open(Program("int main(){}", "cpp"))


def test_a_copy_works_and_boxes_work_side_by_side(sandbox):
    def add(n):
        with pickle.loads(pickle.dumps(sandbox)).open(ADD) as box:
            return [box.run(b"%d %d" % (n, m)).stdout for m in range(3)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(add, range(4))) == [[b"%d\n" % (n + m) for m in range(3)] for n in range(4)]


def test_folders_and_processes_are_gone_after_the_box(sandbox):
    with sandbox.open(ADD) as box:
        assert box.run(b"1").status is Status.OK
        folder, process = box._folder, box._server._process
        assert folder.exists()
    assert not folder.exists()
    assert process.returncode is not None


def test_a_dead_box_is_replaced(sandbox):
    with sandbox.open(ADD) as box:
        assert box.run(b"1 1").stdout == b"2\n"
        box._server._process.kill()
        assert box.run(b"1 2").stdout == b"3\n"


def test_who_ends_two_boxes_is_to_blame_if_others_live(sandbox, monkeypatch):
    ask, asked = ServerProcess.ask, []

    def die(self, message, wait_seconds=0.0):
        asked.append(message)
        if "all" in deaths or (isinstance(message, tuple) and message[0] == b"evil"):
            raise BoxDied("bwrap: it is dead")
        return ask(self, message, wait_seconds)

    monkeypatch.setattr(ServerProcess, "ask", die)
    deaths = set()
    with sandbox.open(ADD) as box:
        outcome = box.run(b"evil")
        assert outcome.status is Status.KILLED
        assert "twice: bwrap: it is dead" in outcome.stderr
        assert sum(message[0] == b"evil" for message in asked if isinstance(message, tuple)) == 2
        assert box.run(b"1 1").stdout == b"2\n"
        deaths.add("all")
        outcome = box.run(b"evil")
        assert outcome.status is Status.BOX_FAILED
        assert "bwrap: it is dead" in outcome.stderr
    with pytest.raises(SandboxUnavailable, match="must print 42 in a box, got box failed: bwrap: it is dead"):
        type(sandbox)()


@pytest.mark.parametrize(
    ("cpu", "wall", "calls"),
    [(0.5, 12.0, 2), (0.001, 12.0, 1), (1.1, 3.0, 1)],
    ids=["kept waiting", "asleep", "used up its time"],
)
def test_only_who_was_kept_waiting_is_run_again(sandbox, monkeypatch, cpu, wall, calls):
    answers = [Outcome(Status.TIMEOUT, cpu_seconds=cpu, wall_seconds=wall), Outcome(Status.OK)]
    monkeypatch.setattr(LocalBox, "_ask", lambda self, message: answers.pop(0))
    with sandbox.open(ADD, Limits(cpu_seconds=1.0)) as box:
        assert box.run().status is (Status.OK if calls == 2 else Status.TIMEOUT)
    assert len(answers) == 2 - calls


def test_another_machine_is_refused(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(SandboxUnavailable, match="needs Linux on x86_64 or aarch64, got linux on riscv64"):
        BwrapSandbox()


def test_bubblewrap_is_missed_and_quoted(monkeypatch, tmp_path):
    monkeypatch.setattr(bwrap.shutil, "which", lambda name: None)
    assert BwrapSandbox().bwrap.name == "bwrap"  # the wheel's
    monkeypatch.setattr(bwrap.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        SandboxUnavailable, match=r"no bwrap on PATH; install bubblewrap, or run\s+pip install '.\[code\]'"
    ):
        BwrapSandbox()
    launcher = tmp_path / "bwrap"
    launcher.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    launcher.chmod(0o755)
    monkeypatch.setattr(bwrap.shutil, "which", lambda name: str(launcher))
    with pytest.raises(
        SandboxUnavailable, match=r"bwrap: No permissions to create new namespace \[exit code 1\].*use Land"
    ):
        BwrapSandbox()


def test_walls_that_do_not_hold_are_noticed():
    class OpenSandbox(LocalSandbox):
        """Landlock's, with everything readable."""

        def launch(self, folder, task, limits):
            scratch, shared = str(folder / "scratch"), str(folder / "files")
            everything = {"readable": ["/"], "executable": [], "writable": [scratch]}
            rest = {"packages": [], "namespaces": False, "landlock": everything, "uid": None, "count_threads": False}
            return self.python(INSIDE), {"scratch": scratch, "shared": shared, **rest}

    with pytest.raises(SandboxUnavailable, match="does not isolate: a program that read /etc/passwd came to ok"):
        OpenSandbox()


@pytest.mark.parametrize(("leak", "words"), [("file", "read /etc/passwd"), ("network", "opened a socket")])
def test_each_canary_can_fail(leak, words):
    class Leaky:
        @contextmanager
        def open(self, program, limits):
            yield self

        def run(self, stdin=b"", *, arguments, files=None):
            if arguments[0] in ("print", leak):
                return Outcome(Status.OK, b"42\n")
            return Outcome(Status.FAILED)

    with pytest.raises(SandboxUnavailable, match=f"a program that {words} came to ok instead of failed; mend it"):
        check_canaries(Leaky(), "; mend it")


@GXX
def test_cpp_runs(sandbox):
    source = '#include <cstdio>\n#include "h.h"\nint main(){int a,b;scanf("%d%d",&a,&b);printf("%d\\n",a+b+ONE);}'
    with sandbox.open(Program(source, "cpp", files={"h.h": b"#define ONE 1"})) as box:
        assert [box.run(b"%d 2" % n).stdout for n in range(3)] == [b"3\n", b"4\n", b"5\n"]


@GXX
def test_cpp_does_not_get_out(sandbox):
    source = """
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
int main(int count, char** words) {
    if (count > 1) abort();
    int thread = 0;
    std::thread threads[4];
    for (auto& each : threads) each = std::thread([&] { usleep(50000); thread = 1; });
    for (auto& each : threads) each.join();
    printf("%d %d %d %d %d %d", thread, (int)fork(), socket(2, 1, 0), open("/etc/passwd", 0), kill(getppid(), 0),
           execl("/usr/bin/id", "id", (char*)0));
}"""
    with sandbox.open(Program(source, "cpp")) as box:
        outcome = box.run()
        assert (outcome.status, outcome.stdout) == (Status.OK, b"1 -1 -1 -1 -1 -1")
        assert box.run(arguments=["abort"]).status is Status.KILLED


@GXX
@pytest.mark.parametrize(
    "source",
    ["int main(){", '#include "/etc/passwd"\nint main(){}', 'asm(".incbin \\"/etc/passwd\\"");int main(){}'],
    ids=["a mistake", "including a file of the machine", "embedding a file of the machine"],
)
def test_cpp_that_does_not_compile(sandbox, source):
    with sandbox.open(Program(source, "cpp")) as box:
        first, second = box.run(), box.run(b"1")
    assert first.status is second.status is Status.NOT_COMPILED
    assert "root:" not in first.stderr
    assert "main.cpp" in first.stderr or "/etc/passwd" in first.stderr


def test_a_caller_that_goes_takes_its_runs_along(sandbox):
    """Else a run that sleeps would go on for as long as its clock allows."""
    source = "import time\nopen('left', 'w')\ntime.sleep(60)"
    with sandbox.open(Program(source), Limits(wall_seconds=60.0)) as box:
        box._start()
        content = marshal.dumps((b"", [], {}), 2)
        box._server._socket.sendall(len(content).to_bytes(8, "little") + content)
        server = box._server._process.pid
        wait_until(lambda: len(descendants(server)) >= (3 if isinstance(sandbox, BwrapSandbox) else 1))
        pids = [server, *descendants(server)]
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_box_that_is_closed_while_it_starts_leaves_nothing(sandbox, monkeypatch):
    def die(self, message, wait_seconds=0.0):
        raise BoxDied("at once")

    monkeypatch.setattr(ServerProcess, "ask", die)
    monkeypatch.setattr(
        ServerProcess, "close", lambda self, close=ServerProcess.close: (time.sleep(wait), close(self))
    )
    folders = []
    for step in range(12):
        wait = step / 1000
        with sandbox.open(ADD) as box:
            folders.append(box._folder.name.encode())
            with pytest.raises(BoxDied):
                box._start()

    def left():
        return [path for path in Path("/proc").glob("[0-9]*/cmdline") if any(name in words(path) for name in folders)]

    wait_until(lambda: not left())


def words(path):
    try:
        return path.read_bytes()
    except OSError:  # it has just ended
        return b""


def descendants(pid):
    """The processes below another."""
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            children += [child, *descendants(child)]
    return children


def wait_until(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
