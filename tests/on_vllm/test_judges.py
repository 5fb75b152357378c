"""Judges by a real vLLM, in the process and on its OpenAI server: the same text as by transformers."""

import logging
import signal

import pieces
import pytest
import tiny
from test_server import free_port, server, signal_all

from k15_plugins import ChainOfThoughtReward, ServerJudge, TransformersJudge, VllmJudge

PROMPTS = ["4 + 3 is 7", "1", "2 + 2 is 4 . answer 4", "wait", "5 - 3 is 2 ."]
TOO_LONG = "1 " * 250
SIZES = {"max_new_tokens": 12}


def words(texts):
    """Without the space that vLLM leaves between the prompt and what follows."""
    return [text and text.strip() for text in texts]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return pieces.save_model(tmp_path_factory.mktemp("model"))


def test_the_engine_in_the_process_writes_what_transformers_writes(model, caplog):
    wanted = TransformersJudge(model, **SIZES).write(PROMPTS)
    assert len(set(wanted)) > 1
    judge = VllmJudge(model, dtype="float32", **SIZES)
    with caplog.at_level(logging.WARNING):
        assert words(judge.write([*PROMPTS, TOO_LONG])) == [*wanted, None]
    assert "1 of 6 texts are longer than the 244 tokens" in caplog.text
    assert judge.write([]) == []


def test_it_judges_beside_the_engine_that_generates(tmp_path, model):
    reward = ChainOfThoughtReward(
        VllmJudge(model, dtype="float32", **SIZES), template="{question} {reference} {response}"
    )
    trainer, _ = pieces.build(tmp_path, model, max_steps=4, reward_funcs=[tiny.odd_start, reward])
    trainer.train()
    assert tiny.logs(trainer, "k15/judged") == [1.0, 1.0]
    assert max(tiny.logs(trainer, "k15/rollout_logp_gap_max")) <= 1e-5


def test_the_server_of_vllm_writes_the_same_and_refuses_what_is_too_long(tmp_path, model, caplog):
    wanted = TransformersJudge(model, **SIZES).write(PROMPTS)
    port = free_port()
    with server(model, port, tmp_path / "log") as process:
        judge = ServerJudge(f"http://127.0.0.1:{port}", model, chat=False, timeout_seconds=60, tries=2, **SIZES)
        with caplog.at_level(logging.WARNING):
            assert words(judge.write([*PROMPTS, TOO_LONG])) == [*wanted, None]
        assert "refuses the request (400)" in caplog.text
        assert "maximum" in caplog.text
        signal_all(process, signal.SIGKILL)
        assert judge.write(PROMPTS) == [None] * len(PROMPTS)
