"""`k15-sandbox`: boxes of this machine for trainers on others, by the protocol of SandboxFusion.

    k15-sandbox --host 0.0.0.0 --port 8080

Whoever reaches the port may run programs in boxes: keep it inside the cluster's own network.
"""

import argparse
import base64
import binascii
import json
import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from k15_plugins.sandbox.box import Sandbox, SandboxUnavailable
from k15_plugins.sandbox.idle_boxes import IdleBoxes
from k15_plugins.sandbox.outcome import Outcome, Status
from k15_plugins.sandbox.program import Limits, Program

_LARGEST_REQUEST_BYTES = 256 * 2**20
_RETRY_SECONDS = 1
_STDERR_CHARACTERS = 4000


@dataclass(frozen=True)
class Request:
    """What one call of `/run_code` asks for.

    Attributes:
        program: To run.
        limits: Of the run.
        stdin: Its input.
    """

    program: Program
    limits: Limits
    stdin: bytes


def read_request(body: bytes) -> Request:
    """Read the body of a call.

    Args:
        body: JSON.

    Raises:
        ValueError: Naming the field.
    """
    try:
        given = json.loads(body)
    except RecursionError as error:
        raise ValueError("the body must be a JSON object, got one nested too deeply.") from error
    if not isinstance(given, dict) or not isinstance(given.get("code"), str):
        raise ValueError("code must be the text of a program.")
    if given.get("language") not in ("python", "cpp"):
        raise ValueError(f"language must be python or cpp, got {given.get('language')!r:.40}.")
    stdin = given.get("stdin") or ""
    if not isinstance(stdin, str):
        raise ValueError(f"stdin must be text, got a {type(stdin).__name__}.")
    files = given.get("files") or {}
    try:
        content = {name: base64.b64decode(text or "", validate=True) for name, text in files.items()}
    except (AttributeError, TypeError, binascii.Error) as error:
        raise ValueError(f"files must map names to base64 text: {error}.") from error
    wall_seconds = _number(given, "run_timeout", 10.0)
    memory_mb = given.get("memory_limit_MB", -1)
    if isinstance(memory_mb, bool) or not isinstance(memory_mb, int):
        raise ValueError(f"memory_limit_MB must be a whole number, got {memory_mb!r:.40}.")
    limits = Limits(
        cpu_seconds=_number(given, "cpu_seconds", wall_seconds),
        wall_seconds=wall_seconds,
        memory_bytes=memory_mb * 2**20 if memory_mb > 0 else Limits.memory_bytes,
    )
    return Request(Program(given["code"], given["language"], content), limits, stdin.encode(errors="surrogatepass"))


def _number(given: dict[str, Any], name: str, default: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{name} must be a number above 0, got {value!r:.40}.")
    return float(value)


def answer(outcome: Outcome) -> dict[str, Any]:
    """Return what `/run_code` answers.

    Args:
        outcome: Of the run.
    """
    if outcome.status is Status.BOX_FAILED:
        return {
            "status": "SandboxError",
            "message": outcome.stderr,
            "compile_result": None,
            "run_result": None,
        } | _REST
    result = {
        "status": "TimeLimitExceeded" if outcome.status is Status.TIMEOUT else "Finished",
        "execution_time": outcome.wall_seconds,
        "return_code": {Status.OK: 0, Status.TIMEOUT: None, Status.KILLED: -9}.get(
            outcome.status, outcome.exit_code or 1
        ),
        "stdout": outcome.stdout.decode(errors="replace"),
        "stderr": outcome.stderr[-_STDERR_CHARACTERS:],
        # Not in the protocol: `HttpSandbox` reads these, other clients leave them.
        "cpu_seconds": outcome.cpu_seconds,
        "memory_bytes": outcome.memory_bytes,
    }
    compiled = outcome.status is not Status.NOT_COMPILED
    return {
        "status": "Success" if outcome.status is Status.OK else "Failed",
        "message": "",
        "compile_result": None if compiled else result,
        "run_result": result if compiled else None,
    } | _REST


_REST: dict[str, Any] = {"executor_pod_name": None, "files": {}}


@dataclass
class Desk:
    """Who may run now, who waits, and who is sent away.

    Attributes:
        boxes: Where programs run.
        slots: Runs at once.
        queue: Requests that may wait for a slot; more are answered by 429.
    """

    boxes: IdleBoxes
    slots: int
    queue: int
    _inside: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._running = threading.BoundedSemaphore(self.slots)

    def run(self, request: Request) -> Outcome | None:
        """Run a program when a slot is free.

        Args:
            request: What to run.

        Returns:
            What it came to; None if too many wait already.
        """
        with self._lock:
            if self._inside >= self.slots + self.queue:
                return None
            self._inside += 1
        try:
            with self._running, self.boxes.use(request.program, request.limits) as box:
                return box.run(request.stdin)
        finally:
            with self._lock:
                self._inside -= 1


def make_server(sandbox: Sandbox, host: str, port: int, slots: int, queue: int) -> ThreadingHTTPServer:
    """Make a server that answers `POST /run_code` and `GET /v1/ping`.

    Args:
        sandbox: Runs the programs.
        host: Address to listen on.
        port: Port; 0 for any that is free.
        slots: Runs at once.
        queue: Requests that may wait.
    """
    desk = Desk(IdleBoxes(sandbox, slots), slots, queue)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 600

        def do_GET(self) -> None:
            self._say(200, "pong") if self.path == "/v1/ping" else self._say(404, {"detail": "unknown path"})

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > _LARGEST_REQUEST_BYTES:
                self.close_connection = True
                self._say(413, {"detail": f"a request must be at most {_LARGEST_REQUEST_BYTES} bytes"})
                return
            body = self.rfile.read(int(length))
            if self.path != "/run_code":
                self._say(404, {"detail": "unknown path"})
                return
            try:
                request = read_request(body)
            except ValueError as error:
                self._say(422, {"detail": str(error)})
                return
            try:
                outcome = desk.run(request)
            except Exception as error:  # a box that cannot be made, say: told to the client, and the server goes on
                outcome = Outcome(Status.BOX_FAILED, stderr=f"{type(error).__name__}: {error}")
            if outcome is None:
                self._say(429, {"detail": "busy"})
            else:
                self._say(200, answer(outcome))

        def _say(self, code: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if code == 429:
                self.send_header("Retry-After", str(_RETRY_SECONDS))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def server_close(self) -> None:
            super().server_close()
            desk.boxes.close()

        def handle_error(self, request: Any, client_address: Any) -> None:
            error = sys.exc_info()[1]
            if not isinstance(error, ConnectionError | TimeoutError):  # a client that went away
                super().handle_error(request, client_address)

    return Server((host, port), Handler)


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        arguments: The command line; None for that of this process.
    """
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser("k15-sandbox", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (this machine only)")
    parser.add_argument("--port", type=int, default=8080, help="port; 0 for any that is free (8080)")
    parser.add_argument("--slots", type=int, default=cores, help=f"programs that run at once (cores: {cores})")
    parser.add_argument("--queue", type=int, default=None, help="requests that may wait for a slot (16 a slot)")
    parser.add_argument("--launcher", choices=["bwrap", "landlock"], default="bwrap", help="isolation (bwrap)")
    given = parser.parse_args(arguments)
    if given.slots < 1 or (given.queue or 0) < 0:
        parser.error("--slots must be from 1 and --queue from 0")
    from k15_plugins.sandbox.bwrap import BwrapSandbox
    from k15_plugins.sandbox.landlock import LandlockSandbox

    try:
        sandbox: Sandbox = BwrapSandbox() if given.launcher == "bwrap" else LandlockSandbox()
        queue = 16 * given.slots if given.queue is None else given.queue
        server = make_server(sandbox, given.host, given.port, given.slots, queue)
    except OSError as error:
        where = f"{given.host}:{given.port}"
        raise SystemExit(f"k15-sandbox: cannot listen on {where} ({error}); take another --port or --host") from error
    except (SandboxUnavailable, ValueError) as error:
        raise SystemExit(f"k15-sandbox: {error}") from error
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"k15-sandbox: http://{given.host}:{server.server_port}, {given.slots} programs at once", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


if __name__ == "__main__":
    main()
