"""These tests need a real vLLM; they run in an environment of their own (`make test`)."""

import gc
import os
from importlib.util import find_spec

import pieces
import pytest
from accelerate.state import AcceleratorState

collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]


@pytest.fixture(autouse=True)
def forget_the_processes():
    """Forget what TRL and vLLM tell the process about its place among others: each test builds engines anew."""
    before = dict(os.environ)
    yield
    # A test that fails keeps its trainers alive, and an engine that goes later takes the next one's groups with it.
    for trainer in pieces.BUILT:
        del trainer.vllm_generation
    pieces.BUILT.clear()
    gc.collect()
    AcceleratorState._reset_state(reset_partial_state=True)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        if name not in before:
            os.environ.pop(name, None)
