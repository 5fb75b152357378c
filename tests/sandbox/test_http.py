"""The client and the server of SandboxFusion's protocol, with real boxes between them."""

import json
import pickle
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from k15_plugins.sandbox import Limits, Program, SandboxUnavailable, Status
from k15_plugins.sandbox.bwrap import BwrapSandbox
from k15_plugins.sandbox.http import HttpSandbox
from k15_plugins.sandbox.idle_boxes import IdleBoxes
from k15_plugins.sandbox.server import main, make_server

QUICK = Limits(cpu_seconds=2.0)


@pytest.fixture(scope="module")
def address():
    server = make_server(BwrapSandbox(), "127.0.0.1", 0, slots=2, queue=8)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def one(sandbox, source, stdin=b"", language="python", limits=QUICK, **given):
    with sandbox.open(Program(source, language), limits) as box:
        return box.run(stdin, **given)


@pytest.mark.parametrize(
    ("source", "stdin"),
    [
        ("print(int(input()) + 1)", b"41\n"),
        ("import sys; sys.exit(3)", b""),
        ("1 / 0", b""),
        ("def f(:", b""),
        ("while True: pass", b""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", b""),
        ("print('\u00fc\u2028')", b""),
    ],
)
def test_a_program_answers_as_in_a_local_box(address, source, stdin):
    far, near = one(HttpSandbox(address), source, stdin), one(BwrapSandbox(), source, stdin)
    assert (far.status, far.stdout, far.exit_code) == (near.status, near.stdout, near.exit_code)
    assert (far.cpu_seconds > 0, far.memory_bytes > 0) == (near.cpu_seconds > 0, near.memory_bytes > 0)


def test_arguments_and_files_reach_it(address):
    source = "import sys; print(sys.argv[1:], open('a.txt').read())"
    outcome = one(HttpSandbox(address), source, arguments=("x", "y z"), files={"a.txt": b"text"})
    assert outcome.stdout == b"['x', 'y z'] text\n"
    with (
        pytest.raises(ValueError, match="packages must be empty"),
        HttpSandbox(address).open(Program("", packages=("x",))),
    ):
        pass


def test_runs_of_one_program_share_a_box_and_nothing_else(address):
    source = "import os\nprint(os.path.exists('left'))\nopen('left', 'w').write('x')"
    assert {one(HttpSandbox(address), source).stdout for _ in range(3)} == {b"False\n"}


def test_a_copy_in_another_process_works(address):
    assert one(pickle.loads(pickle.dumps(HttpSandbox(address))), "print(1)").stdout == b"1\n"


def test_more_requests_than_the_server_holds_all_come_through(address):
    sandbox = HttpSandbox(address, concurrency=24)
    with ThreadPoolExecutor(24) as pool:
        outcomes = list(pool.map(lambda n: one(sandbox, "print(input())", b"%d\n" % n), range(24)))
    assert [outcome.stdout for outcome in outcomes] == [b"%d\n" % n for n in range(24)]


def test_a_server_that_is_full_says_so():
    server = make_server(BwrapSandbox(), "127.0.0.1", 0, slots=1, queue=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    body = {"code": "import time; time.sleep(1)", "language": "python"}
    with ThreadPoolExecutor(3) as pool:
        address = f"http://127.0.0.1:{server.server_port}/run_code"
        answers = list(pool.map(lambda _: requests.post(address, json=body, timeout=60), range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 429, 429]
    assert {answer.headers["Retry-After"] for answer in answers if answer.status_code == 429} == {"1"}
    server.shutdown()
    server.server_close()


class Counted(BwrapSandbox):
    """Counts the boxes that are made, and those that are closed."""

    made = closed = 0

    @contextmanager
    def open(self, program, limits=QUICK):
        self.made += 1
        with super().open(program, limits) as box:
            yield box
        self.closed += 1


def test_boxes_wait_for_their_program_and_the_oldest_is_closed():
    sandbox = Counted()
    sandbox.made = sandbox.closed = 0  # without the canary's
    boxes = IdleBoxes(sandbox, kept=1)
    for text, made, closed in (("1", 1, 0), ("1", 1, 0), ("2", 2, 1), ("2", 2, 1), ("1", 3, 2)):
        with boxes.use(Program(f"print({text})"), QUICK) as box:
            assert box.run(b"").stdout == text.encode() + b"\n"
        assert (sandbox.made, sandbox.closed) == (made, closed)
    boxes.close()
    assert sandbox.closed == 3


def scripted(answers):
    """A server that answers with what is given, one after the other, the last one again and again."""
    calls = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            code, body = answers[min(len(calls), len(answers) - 1)]
            calls.append(code)
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}", calls, server


FINE = {
    "status": "Success",
    "message": "",
    "compile_result": None,
    "run_result": {"status": "Finished", "execution_time": 0.1, "return_code": 0, "stdout": "42\n", "stderr": ""},
    "executor_pod_name": None,
    "files": {},
}
ERROR = {"status": "SandboxError", "message": "no pod", "compile_result": None, "run_result": None, "files": {}}


@pytest.mark.parametrize(
    "bad", [(503, b"full"), (429, b""), (500, b"oops"), (200, b"not JSON"), (200, ERROR), (200, [])]
)
def test_a_server_that_fails_once_is_asked_again(bad):
    address, calls, server = scripted([(200, FINE), bad, (200, FINE)])
    assert one(HttpSandbox(address, patience_seconds=20), "print(42)").status is Status.OK
    assert len(calls) == 3
    server.shutdown()


def test_a_dead_server_is_passed_over(address):
    sandbox = HttpSandbox(["http://127.0.0.1:9", address], patience_seconds=20)
    assert {one(sandbox, "print(1)").stdout for _ in range(3)} == {b"1\n"}


def test_a_program_that_no_server_can_run_fails_its_box_in_the_end():
    address, calls, server = scripted([(200, FINE), (200, ERROR)])
    outcome = one(HttpSandbox(address, patience_seconds=20), "print(42)")
    assert (outcome.status, outcome.stderr) == (Status.BOX_FAILED, "no pod")
    assert len(calls) == 3
    server.shutdown()


def test_servers_that_go_away_cost_the_run_when_patience_ends():
    address, _, server = scripted([(200, FINE)])
    sandbox = HttpSandbox(address, patience_seconds=1)
    server.shutdown()
    server.server_close()
    outcome = one(sandbox, "print(42)")
    assert outcome.status is Status.BOX_FAILED
    assert "no server ran it in 1 s" in outcome.stderr


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"endpoints": []}, ValueError, "endpoints must be addresses"),
        ({"endpoints": "10.0.0.7:8080"}, ValueError, "got '10.0.0.7:8080'"),
        ({"endpoints": "http://127.0.0.1:9"}, SandboxUnavailable, "no sandbox server runs a program .*k15-sandbox"),
        ({"endpoints": "http://x", "concurrency": 0}, ValueError, "concurrency must be from 1"),
        ({"endpoints": "http://x", "patience_seconds": 0}, ValueError, "patience_seconds above 0"),
    ],
)
def test_what_cannot_work_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        HttpSandbox(**given)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{", ""),
        (b"[]", "code must be the text"),
        (b"[" * 100_000, ""),
        (b'{"code": "x"}', "language must be python or cpp, got None"),
        (b'{"code": "x", "language": "rust"}', "got 'rust'"),
        (b'{"code": "x", "language": "python", "stdin": 3}', "stdin must be text"),
        (b'{"code": "x", "language": "python", "files": {"a": "!"}}', "base64"),
        (b'{"code": "x", "language": "python", "run_timeout": 0}', "run_timeout must be a number above 0"),
        (b'{"code": "x", "language": "python", "run_timeout": NaN}', "run_timeout must be a number above 0"),
        (b'{"code": "x", "language": "python", "memory_limit_MB": 1.5}', "memory_limit_MB must be a whole"),
    ],
)
def test_a_wrong_request_is_told_and_the_server_goes_on(address, body, detail):
    response = requests.post(address + "/run_code", data=body, timeout=20)
    assert response.status_code == 422
    assert detail in response.json()["detail"]
    assert requests.get(address + "/v1/ping", timeout=20).json() == "pong"
    assert requests.post(address + "/other", data=b"{}", timeout=20).status_code == 404


def test_the_answer_has_the_fields_of_the_protocol(address):
    body = {"code": "print(1)", "language": "python", "run_timeout": 5}
    answer = requests.post(address + "/run_code", json=body, timeout=20).json()
    assert set(answer) == {"status", "message", "compile_result", "run_result", "executor_pod_name", "files"}
    assert {name: answer["run_result"][name] for name in ("status", "return_code", "stdout", "stderr")} == {
        "status": "Finished",
        "return_code": 0,
        "stdout": "1\n",
        "stderr": "",
    }


def test_the_command_serves_until_it_is_told_to_end():
    command = [sys.executable, "-m", "k15_plugins.sandbox.server", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().split()[1].rstrip(",")
    assert one(HttpSandbox(address), "print(1)").stdout == b"1\n"
    process.terminate()
    assert process.wait(timeout=20) == 0


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SystemExit, match=rf"k15-sandbox: cannot listen on 127\.0\.0\.1:{port} \(.*take another --port"
        ):
            main(["--port", str(port)])
