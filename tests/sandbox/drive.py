"""Run all drills in one sandbox and print what became of each: `python drive.py bwrap|landlock`."""

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bombs
import escapes

from k15_plugins.sandbox import BwrapSandbox, LandlockSandbox, Limits, Program, Status

SANDBOXES = {"bwrap": BwrapSandbox, "landlock": LandlockSandbox}
LIMITS = Limits(
    cpu_seconds=1.0,
    wall_seconds=20.0,
    memory_bytes=bombs.MEMORY_BYTES,
    output_bytes=bombs.OUTPUT_BYTES,
    scratch_bytes=bombs.SCRATCH_BYTES,
    threads=bombs.THREADS,
)
SLEEP_LIMITS = Limits(cpu_seconds=5.0, wall_seconds=0.5)
# One box serves all drills: the program is its first argument.
RUN_ARGUMENT = "import sys\nexec(compile(sys.argv.pop(1), 'drill', 'exec'))"


@contextmanager
def surroundings() -> Iterator[tuple[str, str, int, bytes]]:
    """What drills try to reach: a file, its folder, a port and an abstract socket."""
    with (
        tempfile.TemporaryDirectory(prefix="k15-drill-") as folder,
        socket.create_server(("127.0.0.1", 0)) as port,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        os.chmod(folder, 0o755)
        secret = Path(folder) / "secret"
        for path in (secret, secret.with_name("spare")):
            path.write_text("secret")
            path.chmod(0o644)
        name = b"\0k15-drill-%d" % os.getpid()
        abstract.bind(name)
        abstract.listen()
        os.set_inheritable(port.fileno(), True)
        os.environ["K15_DRILL"] = "secret"
        yield str(secret), folder, port.getsockname()[1], name
        left = sorted(path.name for path in Path(folder).iterdir())
        assert left == ["secret", "spare"], left
        assert secret.read_text() == "secret"
        assert secret.stat().st_mode & 0o777 == 0o644


def source(drill: escapes.Drill, facts: tuple[str, str, int, bytes]) -> str:
    return escapes.PRELUDE.format(facts=facts, body=drill.body)


def drive(kind: str) -> dict[str, Any]:
    """Return by name what each drill came to: status, start of the output, end of the errors, memory."""
    sandbox = SANDBOXES[kind]()
    outcomes: dict[str, Any] = {}

    def note(name: str, outcome: Any) -> None:
        outcomes[name] = {
            "status": outcome.status,
            "stdout": outcome.stdout.decode("latin-1"),
            "stderr": outcome.stderr[-2000:],
            "seconds": outcome.wall_seconds,
        }

    with surroundings() as facts, sandbox.open(Program(RUN_ARGUMENT), LIMITS) as box:
        for drill in escapes.DRILLS:
            note(drill.name, box.run(arguments=[source(drill, facts)]))
        for case in (*bombs.BOMBS, *bombs.CONTROLS):
            if not case.sleeps and not case.compiled:
                note(case.name, box.run(case.stdin, arguments=[case.source], files=case.files))
    with sandbox.open(Program(RUN_ARGUMENT), SLEEP_LIMITS) as box:
        for case in (case for case in bombs.BOMBS if case.sleeps):
            note(case.name, box.run(arguments=[case.source]))
    for case in (case for case in bombs.BOMBS if case.compiled):
        with sandbox.open(Program(case.source), LIMITS) as box:
            note(case.name, box.run())
    # Two programs that must not meet, in one box: the second looks around after the first.
    program = Program(
        f"import sys\nif sys.argv[1:]:\n    exec(sys.argv[1])\nelse:\n    exec({bombs.LOOK_AROUND!r})",
        files={"given": b"kept"},
    )
    with sandbox.open(program, LIMITS) as box:
        note("look around", box.run())
        for case in bombs.LEAVINGS:
            note(case.name, box.run(arguments=[case.source]))
            note(f"after: {case.name}", box.run())
    assert Status.BOX_FAILED not in {outcome["status"] for outcome in outcomes.values()}
    return outcomes


if __name__ == "__main__":
    json.dump(drive(sys.argv[1]), sys.stdout)
