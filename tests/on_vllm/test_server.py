"""A real vLLM server: exact weights over gloo, and no lost rollout when it dies or stalls."""

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import pieces
import pytest
import requests
import tiny
import torch
from transformers import TrainerCallback

from k15_plugins import PrioritizedSampler
from k15_plugins.generation.cpu import serve as vllm_cpu_server


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def server(model, port, log, *more, context=192):
    """Start the documented command and wait until it answers; ends all that it has started."""
    length = ("--max-model-len", str(context))
    command = vllm_cpu_server.command(model, "--port", str(port), *length, "--dtype", "float32", *more)
    environment = {**vllm_cpu_server.ENVIRONMENT, **os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True, cwd=log.parent
        )
    try:
        end = time.monotonic() + 300
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, "the server did not start in time"
            try:
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok:
                    break
            except requests.RequestException:
                time.sleep(0.5)
        yield process
    finally:
        signal_all(process, signal.SIGKILL)
        process.wait()


def signal_all(process, number):
    os.killpg(process.pid, number)


def build(folder, model, port, **changes):
    settings = {
        "vllm_mode": "server",
        "vllm_server_host": "127.0.0.1",
        "vllm_server_port": port,
        "vllm_server_timeout": 60.0,
        "vllm_group_port": free_port(),
        "server_patience_seconds": 5.0,
        "rollout_budget_tokens": 4,
        "rollout_pool_groups": 8,
        "learning_rate": 3e-4,
        "max_steps": 8,
    }
    return pieces.build(folder, model, sampler=PrioritizedSampler(12, seed=2), **settings | changes)


class WhenItGenerates(TrainerCallback):
    """Does something to the server when it is first asked for rollouts after a step."""

    def __init__(self, step, client, act):
        self.step = step
        self.client = client
        self.act = act

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            generate = self.client.generate

            def act_and_generate(**arguments):
                self.act()
                return generate(**arguments)

            self.client.generate = act_and_generate


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return pieces.save_model(tmp_path_factory.mktemp("model"))


def test_weights_arrive_exactly_and_a_lost_server_loses_no_rollout(tmp_path, model):
    port = free_port()
    # No token to spare for the longest prompt with the longest response.
    longest = max(len(tiny.tiny_tokenizer()(each)["input_ids"]) for each in tiny.problems()["prompt"]) + 16
    with server(model, port, tmp_path / "server.log", context=longest) as process:
        with pytest.raises(
            ValueError, match=rf"into the --max-model-len {longest} of .* --max-model-len {longest + 1}"
        ):
            build(tmp_path / "longer", model, port, max_completion_length=17)
        trainer, _ = build(tmp_path / "run", model, port)
        client = trainer.vllm_generation.vllm_client
        trainer.add_callback(WhenItGenerates(6, client, lambda: signal_all(process, signal.SIGSTOP)))
        with pytest.raises(
            RuntimeError, match=r"did not answer for 5 s; the training, with \d+ unfinished rollouts, was"
        ):
            trainer.train()
        gaps = tiny.logs(trainer, "k15/rollout_logp_gap_max")
        assert len(gaps) == 3
        assert 0 < gaps[-1] <= max(gaps) <= 1e-5
        assert max(tiny.logs(trainer, "k15/rho_abs_max")) > 1e-2
        signal_all(process, signal.SIGCONT)

    held = trainer.rollouts.buffer.state_dict()
    saved = torch.load(tmp_path / "run" / "checkpoint-6" / "k15_state_0.pt", weights_only=False)["partial_rollouts"]
    assert saved["started_in"] == 3
    assert saved["buffer"]["segments"] == held["segments"]
    assert len(held["ids"]) > 0
    assert (saved["buffer"]["ids"] == held["ids"]).all()
    assert len(held["problems"]) > 0

    port = free_port()
    with server(model, port, tmp_path / "again.log") as process:
        again, rest = build(tmp_path / "run", model, port, max_steps=12)
        client = again.vllm_generation.vllm_client
        again.add_callback(WhenItGenerates(10, client, lambda: signal_all(process, signal.SIGKILL)))
        with pytest.raises(RuntimeError, match="checkpoint-10: start the server and resume"):
            again.train(resume_from_checkpoint=True)
        assert max(tiny.logs(again, "k15/rollout_logp_gap_max")) <= 1e-5
        # The trajectories that were in the buffer have gone on: their first tokens are from before.
        old = [each for each in rest.rollouts if each["segments"][0][0] < 3]
        assert old
        assert again.sampler.iteration == 5


def test_a_server_of_several_engines_is_refused(tmp_path, model):
    port = free_port()
    with (
        server(model, port, tmp_path / "server.log", "--data-parallel-size", "2"),
        pytest.raises(ValueError, match="must be one engine, got --data-parallel-size 2: its engines share a seed"),
    ):
        build(tmp_path / "run", model, port)
