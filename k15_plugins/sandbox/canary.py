"""Programs that show whether a sandbox works: one that must run, and two that must not get what they want."""

from k15_plugins.sandbox.box import Sandbox, SandboxUnavailable
from k15_plugins.sandbox.outcome import Status
from k15_plugins.sandbox.program import Limits, Program

_CANARY = """
import sys
if sys.argv[1] == "print":
    print(6 * 7)
elif sys.argv[1] == "file":
    print(len(open("/etc/passwd").read()))
else:
    import socket
    socket.socket().connect_ex(("127.0.0.1", 9))
"""
_LIMITS = Limits(cpu_seconds=5.0, wall_seconds=60.0)


def check_canaries(sandbox: Sandbox, cure: str = "") -> None:
    """See that a sandbox runs what is harmless and stops what is not.

    Args:
        sandbox: The sandbox.
        cure: What to do if it does not, as the second half of a sentence.

    Raises:
        SandboxUnavailable: If it fails, in its own words.
    """
    name = type(sandbox).__name__
    with sandbox.open(Program(_CANARY), _LIMITS) as box:
        outcome = box.run(arguments=["print"])
        if outcome.status is not Status.OK or outcome.stdout != b"42\n":
            words = outcome.stderr or repr(outcome.stdout)
            raise SandboxUnavailable(f"{name} must print 42 in a box, got {outcome.status}: {words}{cure}")
        for act, words in (("file", "read /etc/passwd"), ("network", "opened a socket")):
            if (outcome := box.run(arguments=[act])).status is not Status.FAILED:
                raise SandboxUnavailable(
                    f"{name} does not isolate: a program that {words} came to {outcome.status} instead of "
                    f"{Status.FAILED}{cure}"
                )
