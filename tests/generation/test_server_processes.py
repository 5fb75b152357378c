"""Two processes that share one vLLM server."""

import json
import os
import subprocess
import sys
from pathlib import Path

JOB = Path(__file__).with_name("serve_two_processes.py")


def test_each_process_is_given_its_own_segments_though_their_shares_differ(tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    env = os.environ | {"PYTHONPATH": str(JOB.parents[2]), "OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, str(JOB), str(tmp_path)], env=env, check=True, timeout=120)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    # Each with its own limit, though the first process alone asks the server.
    assert first == [[0] * 2, [1] * 5, [2] * 2]
    assert second == [[10] * 2, [11] * 6]
