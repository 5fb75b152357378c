"""Warnings of a job: what nobody can act on is left unsaid, all else is said once, by one rank."""

import os
import subprocess
import sys

import pytest

JOB = """
import logging, os, warnings
from k15_plugins.runs.quiet import quiet

quiet()
import torch

compile("1 is 1", "a_package.py", "eval")
for _ in range(2):
    with warnings.catch_warnings():  # as libraries do, after which Python warns again of what it has warned of
        warnings.warn("`is_gradient_checkpointing` is deprecated and will be removed in v6.", FutureWarning)
        warnings.warn("'pin_memory' argument is set as true but no accelerator is found, then it has no effect.")
        warnings.warn("the tokenizer has no padding token.\\nIt gets one.")
    logger = logging.getLogger("transformers.trainer_utils")
    logger.warning("mtime may not be reliable on this filesystem, falling back to numerical ordering")
    logger.warning("a model is large")
    for name, text in {
        "transformers.trainer": "There were missing keys in the checkpoint model loaded: ['lm_head.weight'].",
        "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward from kernels-community",
    }.items():
        logging.getLogger(name).warning(text)
print(os.environ.get("TRANSFORMERS_VERBOSITY"), os.environ.get("TORCH_CPP_LOG_LEVEL"))
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_warning_is_told_once_by_the_first_rank(rank, tmp_path):
    (tmp_path / "job.py").write_text(JOB)
    env = os.environ | {"RANK": str(rank), "PYTHONPATH": os.pathsep.join(sys.path)}
    env = {name: value for name, value in env.items() if name not in ("TRANSFORMERS_VERBOSITY", "TORCH_CPP_LOG_LEVEL")}
    command = [sys.executable, "job.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    warned = [line for line in done.stderr.splitlines() if "a model is large" not in line]
    if rank == 1:
        assert warned == []
    else:
        (line,) = warned
        assert line.startswith("UserWarning: the tokenizer has no padding token. It gets one. (")
    assert done.stderr.count("a model is large") == 2
    assert done.stdout.split() == (["error", "ERROR"] if rank else ["None", "None"])
