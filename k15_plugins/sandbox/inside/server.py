"""The server inside a box: a fork a run, under walls, with files in memory for what goes in and out.

It reads jobs from the descriptor named on its command line and answers with facts only: what a run wrote, how the
process ended, what it used. It trusts who started it and nothing that a fork has written. A fork has no descriptor of
the server, may send it no signal, and cannot fork.
"""

from __future__ import annotations

import gc
import marshal
import os
import resource
import select
import signal
import sys
import time

from k15_plugins.sandbox.inside import python_program, result, scratch, seccomp, walls

# As typing's, without the time that it takes to import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_WATCH_SECONDS = 0.05
_ERROR_BYTES = 4000
_PYTHON_STACK_BYTES, _FILE_STACK_BYTES = 256 * 2**20, 64 * 2**20
_COMPILE_SECONDS, _COMPILE_MEMORY, _CODE_BYTES = 10, 2**30, 64 * 2**20


class Server:
    """Answers runs of one program."""

    def __init__(self, control: int, job: dict[str, Any]) -> None:
        self.control = control
        self.job = job
        self.code = b""
        self.filter = seccomp.build(
            job["machine"],
            exec_allowed=bool(job["command"]),
            fork_allowed=job["fork_allowed"],
            namespaces=job["namespaces"],
        )

    def load(self) -> bytes:
        """Compile the program, if it is Python; return the result of that, or one that says yes."""
        if self.job["command"]:
            return _result(0, 0, 0.0, 0.0, 0, b"", b"")
        path = os.path.join(self.job["shared"], "main.py")
        with open(path, "rb") as file:
            python_program.import_common(file.read())
        gc.freeze()
        limits = {**self.job, "cpu_seconds": _COMPILE_SECONDS, "memory_bytes": _COMPILE_MEMORY}
        limits["output_bytes"], limits["wall_seconds"] = _CODE_BYTES, 6.0 * _COMPILE_SECONDS

        def compile_it() -> int:
            try:
                python_program.compile_to_output(path)
            except BaseException as error:
                import traceback

                os.write(2, "".join(traceback.format_exception_only(error)).encode("utf-8", "replace"))
                return 1
            return 0

        status, ended, cpu, wall, peak, self.code, errors = self._fork(compile_it, b"", limits)
        return _result(status, ended, cpu, wall, peak, b"", errors)

    def run(self, stdin: bytes, arguments: list[str], files: dict[str, bytes]) -> bytes:
        """Run the program once and return the result as it goes out."""
        job = self.job
        folder, command = job["scratch"], job["command"]
        scratch.fill(folder, files, job["shared"], job["uid"])

        def run_it() -> int:
            if command:
                os.execve(command[0], [*command, *arguments], dict(os.environ))
            path = os.path.join(folder, "main.py")
            return python_program.run(self.code, path, arguments, [folder, *job["packages"]])

        status, ended, cpu, wall, peak, stdout, errors = self._fork(run_it, stdin, job)
        if job["collect"] and status == 0:
            stdout = _collect(os.path.join(folder, job["collect"]), job["output_bytes"])
        scratch.empty(folder)
        return _result(status, ended, cpu, wall, peak, stdout, errors)

    def _fork(
        self, function: Callable[[], int], stdin: bytes, limits: dict[str, Any]
    ) -> tuple[int, int, float, float, int, bytes, bytes]:
        """Run a function in a fork and return what became of it."""
        streams = [_memory_file(stdin), _memory_file(b""), _memory_file(b"")]
        ready, ready_in_child = os.pipe()
        start, server = time.monotonic(), os.getpid()
        pid = os.fork()
        if pid == 0:
            _child(function, server, streams, ready_in_child, limits, self.filter)
        os.close(ready_in_child)
        problem = os.read(ready, 4096)
        os.close(ready)
        if problem != b"ready":
            raise RuntimeError(f"no walls: {problem.decode(errors='replace')}")
        ended = self._watch(pid, start + limits["wall_seconds"])
        _, status, usage = os.wait4(pid, 0)
        wall = time.monotonic() - start
        if limits["fork_allowed"]:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if ended == 0 and scratch.too_much(self._usage(), limits["scratch_bytes"]):
            ended = result.ENDED_BY_FILES
        stdout = _read(streams[1], 0)
        errors = _read(streams[2], max(0, os.fstat(streams[2]).st_size - _ERROR_BYTES))
        for stream in streams:
            os.close(stream)
        return status, ended, usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, stdout, errors

    def _watch(self, pid: int, deadline: float) -> int:
        """Wait for a fork; end it when its time by the clock is up, or it takes what the kernel does not limit."""
        handle = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(self.control, select.POLLRDHUP)
        ended = 0
        while not (events := poll.poll(1000 * max(0.0, min(_WATCH_SECONDS, deadline - time.monotonic())))):
            if time.monotonic() >= deadline:
                ended = result.ENDED_BY_CLOCK
            elif scratch.too_much(self._usage(), self.job["scratch_bytes"]) or self._written(pid):
                ended = result.ENDED_BY_FILES
            elif not self.job["namespaces"] and self._threads(pid) > self.job["threads"]:
                ended = result.ENDED_BY_THREADS
            if ended:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                break
        if (handle, select.POLLIN) not in events and not ended:  # nobody waits for the answer any more
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
        return ended

    def _usage(self) -> tuple[int, int]:
        folder = self.job["scratch"]
        return scratch.usage_of_mount(folder) if self.job["namespaces"] else scratch.usage_of_tree(folder)

    def _written(self, pid: int) -> bool:
        """Return whether more was written than all outputs may hold, in files that were removed while open too."""
        if self.job["namespaces"]:
            return False
        try:
            with open(f"/proc/{pid}/io", "rb") as file:
                written = int(file.read().split()[3])  # wchar
        except OSError:  # it has just ended, or this kernel does not count
            return False
        return written > self.job["scratch_bytes"] + 2 * self.job["output_bytes"]

    def _threads(self, pid: int) -> int:
        try:
            return os.stat(f"/proc/{pid}/task").st_nlink - 2
        except OSError:  # it has just ended
            return 0


def _child(
    function: Callable[[], int],
    server: int,
    streams: list[int],
    ready: int,
    job: dict[str, Any],
    filter: seccomp.Filter,
) -> NoReturn:
    """Put up the walls, say so, and run a function; never returns."""
    exit_code = 1
    try:
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        os.closerange(3, ready)
        os.closerange(ready + 1, 1024)
        os.setsid()
        os.chdir(job["scratch"])
        if job["landlock"]:
            walls.restrict_files(**job["landlock"])
        walls.limit(
            cpu_seconds=int(-(-job["cpu_seconds"] // 1)),
            memory_bytes=job["memory_bytes"],
            file_bytes=job["output_bytes"],
            threads=job["threads"] if job["count_threads"] else None,
            stack_bytes=_FILE_STACK_BYTES if job["command"] else _PYTHON_STACK_BYTES,
        )
        if job["uid"] is not None:
            walls.stop_being_root(job["uid"])
        walls.die_with(server)
        walls.set_dumpable(not job["namespaces"])  # otherwise the server could not read what it has written
        walls.filter_calls(filter.of_process(os.getpid()))
        gc.enable()
        os.write(ready, b"ready")
        os.close(ready)
    except BaseException as error:
        os.write(ready, repr(error).encode())
        os._exit(exit_code)
    try:
        exit_code = function()
    except BaseException as error:
        try:
            os.write(2, repr(error).encode("utf-8", "replace"))
        except BaseException:
            pass
    os._exit(exit_code)


def _memory_file(data: bytes) -> int:
    descriptor = os.memfd_create("stream", os.MFD_CLOEXEC)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _read(descriptor: int, start: int) -> bytes:
    """Return what is in a file from a position on."""
    parts = []
    while part := os.pread(descriptor, 2**20, start):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _collect(path: str, most_bytes: int) -> bytes:
    """Return a plain file that a run has left; nothing if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with open(descriptor, "rb") as file:
        return file.read(most_bytes)


def _result(status: int, ended: int, cpu: float, wall: float, peak: int, stdout: bytes, errors: bytes) -> bytes:
    return result.RESULT.pack(status, ended, cpu, wall, peak, len(stdout), len(errors)) + stdout + errors


def main() -> None:
    """Serve until whoever started this closes the connection."""
    control = int(sys.argv[1])
    walls.set_dumpable(False)
    walls.reset_signals()  # once, for all forks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.disable()
    with open(control, "rb") as requests, open(os.dup(control), "wb") as replies:
        server = None
        while size := requests.read(8):
            message = marshal.loads(requests.read(int.from_bytes(size, "little")))
            if server is None:
                server = Server(control, message)
                reply = server.load()
            else:
                reply = server.run(*message)
            replies.write(reply)
            replies.flush()
