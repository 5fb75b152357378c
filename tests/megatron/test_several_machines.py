"""A job of two machines, both of them this one: torchrun is started twice, and the ranks find each other."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from small_models import save

from k15_plugins.megatron.job.remote import RemoteEngine
from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.rows import Rows
from k15_plugins.megatron.settings import EngineSettings
from k15_plugins.runs.megatron import MegatronBackend

pytestmark = pytest.mark.slow


def settings(port: int) -> EngineSettings:
    return EngineSettings(MegatronLayout(2, tensor_parallel=2), nodes=2, address=f"127.0.0.1:{port}")


def other_machine(port: int) -> subprocess.Popen:
    """Start what docs/megatron.md says to start on the second machine."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--node_rank=1", "--nproc_per_node=1"),
            *("--master_addr=127.0.0.1", f"--master_port={port}", "-m", "k15_plugins.megatron.job.worker"),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_two_machines_compute_as_one_and_end_together(tmp_path, port):
    model = save("qwen2", tmp_path)
    other = other_machine(port)
    engine = RemoteEngine(settings(port), str(tmp_path))
    try:
        ids = torch.tensor([3, 14, 15, 92, 65, 35, 89])
        logps, _ = engine.logps(Rows([ids], [4], {}), temperature=1.0)
        expected = model(ids[None]).logits.log_softmax(-1)[0, 2:-1].gather(1, ids[3:, None]).T
        torch.testing.assert_close(logps, expected.detach(), atol=1e-5, rtol=0)
        assert len(engine.memory()) == 2
    finally:
        engine.close()
        try:
            assert other.wait(timeout=60) == 0
        finally:
            other.kill()


def test_a_lost_machine_is_told_at_the_next_call(tmp_path, port):
    save("qwen2", tmp_path)
    other = other_machine(port)
    engine = RemoteEngine(settings(port), str(tmp_path))
    try:
        other.terminate()
        other.wait(timeout=60)
        with pytest.raises(RuntimeError, match="rank"):
            engine.logps(Rows([torch.arange(6)], [3], {}), temperature=1.0)
    finally:
        other.kill()
        engine.close()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"nodes": 3, "address": "first:29500"}, "processes=8 cannot be shared evenly by backend.nodes=3"),
        ({"nodes": 0}, "backend.nodes must be a number of machines, 1 or more, got 0"),
        ({"nodes": 2}, "backend.address=None has to be HOST:PORT"),
        ({"nodes": 2, "address": "first"}, "backend.address=first has to be HOST:PORT"),
    ],
)
def test_machines_that_cannot_share_a_job_are_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        MegatronBackend(processes=8, **wrong)
