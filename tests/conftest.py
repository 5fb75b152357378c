"""The environment of all tests: offline, one thread a process, and how hypothesis looks for cases."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings  # after the environment: hypothesis reads CI from it

# The tests of a change must not depend on luck; locally, hypothesis goes on looking for new cases.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("default", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")
