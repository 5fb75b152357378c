"""Boxes on other machines, by the protocol of SandboxFusion (`POST /run_code`), which `k15-sandbox` speaks too."""

import base64
import itertools
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import requests

from k15_plugins.endpoints import LONGEST_PAUSE_SECONDS, addresses, retry_after
from k15_plugins.sandbox.box import SandboxUnavailable
from k15_plugins.sandbox.outcome import Outcome, Status
from k15_plugins.sandbox.program import Limits, Program, wall_seconds

_CONNECT_SECONDS = 10.0
_COMPILE_SECONDS = 60.0
_BUSY = (408, 429, 502, 503, 504)
# A server that is away, or whose answer is not one of the protocol.
_NO_ANSWER = (requests.RequestException, ValueError, KeyError, TypeError, AttributeError)
_CURE = "start one with k15-sandbox, or correct the address"


class HttpSandbox:
    """Runs programs on servers that speak the protocol of SandboxFusion.

    Each run is one request. Requests go to the servers in turn; one that is busy, away or failing is passed over, and
    when all are, the request waits and is sent again. The isolation is the servers' own. `k15-sandbox` judges by
    processor time; other servers know a limit by the clock only, get `wall_seconds`, and may cut long outputs off.

    Args:
        endpoints: Addresses, such as "http://10.0.0.7:8080"; one may be given as text.
        concurrency: Requests under way at once, in each process that has this object or a copy.
        patience_seconds: How long a run may wait for a server that answers; then it is `Status.BOX_FAILED`.

    Raises:
        ValueError: If an address or a number is none.
        SandboxUnavailable: If no server runs a small program.
    """

    def __init__(self, endpoints: str | Sequence[str], concurrency: int = 16, patience_seconds: float = 300.0) -> None:
        self.endpoints = addresses(endpoints, "http://10.0.0.7:8080", _CURE)
        if concurrency < 1 or not patience_seconds > 0:
            raise ValueError(
                f"concurrency must be from 1 and patience_seconds above 0, got {concurrency} and {patience_seconds}."
            )
        self.concurrency = concurrency
        self.patience_seconds = patience_seconds
        self._prepare()
        self._try_servers()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("endpoints", "concurrency", "patience_seconds")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def _prepare(self) -> None:
        """Make what belongs to one process."""
        self._slots = threading.BoundedSemaphore(self.concurrency)
        self._sessions = threading.local()
        self._next = itertools.count(os.getpid())  # so that processes do not all begin with the first

    def _try_servers(self) -> None:
        words = []
        request = _request(Program("print(6 * 7)"), Limits(), b"", (), {})
        for endpoint in self.endpoints:
            try:
                outcome = _outcome(self._post(endpoint, request).json())
                if outcome.stdout.strip() == b"42":
                    return
                words.append(f"{endpoint} answers print(6 * 7) with {outcome.stdout!r:.40} {outcome.stderr:.100}")
            except _NO_ANSWER as error:
                words.append(f"{endpoint}: {error}")
        raise SandboxUnavailable(f"no sandbox server runs a program ({'; '.join(words):.400}); {_CURE}.")

    @contextmanager
    def open(self, program: Program, limits: Limits = Limits()) -> Iterator["_HttpBox"]:  # noqa: B008
        """See `Sandbox.open`; programs with `packages` cannot be sent.

        Args:
            program: What runs.
            limits: Of each run; `threads` and the sizes of output and scratch are the server's own.
        """
        if program.packages:
            raise ValueError("packages must be empty for a server; install them there, or take a local sandbox.")
        yield _HttpBox(self, program, limits)

    def run(self, request: dict[str, Any]) -> Outcome:
        """Send a request to the servers in turn until one has run it.

        Args:
            request: A body of `/run_code`.
        """
        end = time.monotonic() + self.patience_seconds
        pause = 0.1
        errors = 0
        while True:
            said, wait = "", 0.0
            for _ in self.endpoints:
                endpoint = self.endpoints[next(self._next) % len(self.endpoints)]
                try:
                    with self._slots:
                        response = self._post(endpoint, request)
                    if response.status_code in _BUSY:
                        said = f"{endpoint} is busy ({response.status_code})"
                        wait = max(wait, retry_after(response))
                        continue
                    outcome = _outcome(response.json())
                except _NO_ANSWER as error:
                    said = f"{endpoint}: {error}"
                    continue
                if outcome.status is not Status.BOX_FAILED:
                    return outcome
                # The server could not run it: it may be the server, or the program. Others are asked, twice in all.
                errors += 1
                if errors > 1:
                    return outcome
                said = f"{endpoint}: {outcome.stderr}"
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
            wait = max(wait, pause * random.uniform(0.5, 1.0))
            if time.monotonic() + wait > end:
                return Outcome(Status.BOX_FAILED, stderr=f"no server ran it in {self.patience_seconds} s; {said}")
            time.sleep(wait)

    def _post(self, endpoint: str, request: dict[str, Any]) -> requests.Response:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        seconds = request["run_timeout"] + request["compile_timeout"] + 60.0
        return self._sessions.session.post(
            endpoint.rstrip("/") + "/run_code", json=request, timeout=(_CONNECT_SECONDS, seconds)
        )


class _HttpBox:
    """A program that is sent with every input."""

    def __init__(self, sandbox: HttpSandbox, program: Program, limits: Limits) -> None:
        self._sandbox, self._program, self._limits = sandbox, program, limits

    def run(
        self, stdin: bytes = b"", *, arguments: Sequence[str] = (), files: Mapping[str, bytes] | None = None
    ) -> Outcome:
        """See `Box.run`; arguments reach Python programs only, and the input must be UTF-8."""
        try:
            request = _request(self._program, self._limits, stdin, arguments, files or {})
        except UnicodeEncodeError as error:
            return Outcome(Status.NOT_COMPILED, stderr=str(error))
        return self._sandbox.run(request)


def _request(
    program: Program, limits: Limits, stdin: bytes, arguments: Sequence[str], files: Mapping[str, bytes]
) -> dict[str, Any]:
    source = program.source
    source.encode()
    if arguments and program.language == "python":
        source = f"import sys; sys.argv[1:] = {list(arguments)!r}\n{source}"
    elif arguments:
        raise ValueError(f"arguments cannot be sent to a program in {program.language}; leave them out.")
    return {
        "code": source,
        "language": program.language,
        "stdin": stdin.decode(),
        "files": {name: base64.b64encode(content).decode() for name, content in {**program.files, **files}.items()},
        "compile_timeout": _COMPILE_SECONDS,
        "run_timeout": wall_seconds(limits),
        "memory_limit_MB": limits.memory_bytes >> 20,
        # Not in the protocol: k15-sandbox reads it, others leave it.
        "cpu_seconds": limits.cpu_seconds,
    }


def _outcome(answer: dict[str, Any]) -> Outcome:
    """Read the body of an answer of `/run_code`."""
    compiled, ran = answer.get("compile_result"), answer.get("run_result")
    if answer["status"] == "SandboxError" or (ran is None and compiled is None):
        return Outcome(Status.BOX_FAILED, stderr=str(answer.get("message")))
    if ran is None or (compiled is not None and compiled["return_code"] != 0):
        return Outcome(Status.NOT_COMPILED, stderr=(compiled or {}).get("stderr") or "")
    code = ran.get("return_code")
    if ran["status"] == "TimeLimitExceeded":
        status, code = Status.TIMEOUT, None
    elif code == 0:
        status = Status.OK
    elif code is None or code < 0 or code > 128:
        status, code = Status.KILLED, None
    else:
        status = Status.FAILED
    seconds = ran.get("execution_time") or 0.0
    return Outcome(
        status,
        (ran.get("stdout") or "").encode(errors="surrogatepass"),
        ran.get("stderr") or "",
        code,
        ran.get("cpu_seconds", seconds),
        seconds,
        ran.get("memory_bytes", 0),
    )
