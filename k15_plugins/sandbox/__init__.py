"""Boxes for untrusted programs.

Nothing inside is trusted, and no expected output goes in: a box gets a program and its input, and returns what the
program wrote. Whoever asked compares.
"""

from k15_plugins.sandbox.box import Box, Sandbox, SandboxUnavailable
from k15_plugins.sandbox.bwrap import BwrapSandbox
from k15_plugins.sandbox.landlock import LandlockSandbox
from k15_plugins.sandbox.outcome import Outcome, Status
from k15_plugins.sandbox.program import Limits, Program

__all__ = [
    "Box",
    "BwrapSandbox",
    "LandlockSandbox",
    "Limits",
    "Outcome",
    "Program",
    "Sandbox",
    "SandboxUnavailable",
    "Status",
]
