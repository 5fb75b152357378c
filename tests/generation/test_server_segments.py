"""What becomes of what a vLLM server returns; the server itself is in `tests/on_vllm`."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from trl import GRPOTrainer

from k15_plugins.generation import vllm_server
from k15_plugins.generation.segments import SegmentRequest
from k15_plugins.rollouts import RepetitionRule


def segments(rows, allowances, rule=None, started=()):
    generation = SimpleNamespace(generation_kwargs={}, vllm_client=None)
    trainer = SimpleNamespace(
        vllm_generation=generation,
        accelerator=SimpleNamespace(is_main_process=False),
        args=SimpleNamespace(server_patience_seconds=1.0),
        state=SimpleNamespace(global_step=0),
        _last_loaded_step=0,
    )
    request = SegmentRequest(
        prompt_ids=[[1]] * len(rows),
        started=[np.array(started, np.int32)] * len(rows),
        images=None,
        multimodal_fields={},
        allowances=allowances,
        must_end=[False] * len(rows),
        ends_at_allowance=[False] * len(rows),
        pause_after=None,
        repetition=rule,
    )
    found = vllm_server.generate_with_vllm_server(
        trainer, lambda *_: (rows, [[-1.0] * len(row) for row in rows]), request
    )
    return [(len(each.ids), each.is_ended) for each in found]


def test_what_is_shorter_than_its_limit_was_ended_by_the_server():
    rows = [[9] * 8, [9] * 4, [9] * 3]
    assert segments(rows, [8, 4, 4]) == [(8, False), (4, False), (3, True)]


def test_a_repetition_from_before_the_rule_cuts_nothing_off():
    rule = RepetitionRule(max_period=1, min_count=3)
    assert segments([[5, 6, 7]], [3], rule, started=[4, 4, 4, 2, 3]) == [(3, False)]
    assert segments([[5, 5, 5, 6]], [4], rule, started=[4, 4, 4, 2, 3]) == [(3, False)]


def test_weights_are_sent_once_and_the_rule_for_repetitions_for_one_call():
    sent, asked = [], []

    def generate(prompts, **_):
        asked.append(generation.generation_kwargs)
        return None, [[5]] * len(prompts), [[[-1.0]]] * len(prompts), None

    generation = SimpleNamespace(
        generation_kwargs={"seed": 1}, vllm_client=None, sync_weights=lambda: sent.append(1), generate=generate
    )
    trainer = SimpleNamespace(
        use_vllm=True,
        vllm_generation=generation,
        accelerator=SimpleNamespace(is_main_process=False, device="cpu"),
        args=SimpleNamespace(server_patience_seconds=1.0, report_to=[]),
        state=SimpleNamespace(global_step=3),
        _last_loaded_step=2,
    )
    rule = RepetitionRule(max_period=4, min_count=3)
    no_token = np.zeros(0, np.int32)
    request = SegmentRequest([[1], [2]], [no_token] * 2, None, {}, [3, 3], [False] * 2, [False] * 2, None, rule)
    single_turn = partial(GRPOTrainer._generate_single_turn, trainer)
    assert len(vllm_server.generate_with_vllm_server(trainer, single_turn, request)) == 2
    assert len(sent) == 1
    detection = {"max_pattern_size": 4, "min_pattern_size": rule.min_period, "min_count": 3}
    assert asked == [{"seed": 1, "repetition_detection": detection}]
    assert generation.generation_kwargs == {"seed": 1}


def test_a_server_that_dies_outside_of_segments_is_told_of_too(monkeypatch):
    def refuse(**_):
        raise ConnectionError("refused")

    monkeypatch.setattr(vllm_server, "_answers", lambda *_: False)
    client = SimpleNamespace(base_url="http://nowhere", generate=refuse)
    trainer = SimpleNamespace(
        vllm_generation=SimpleNamespace(vllm_client=client),
        accelerator=SimpleNamespace(is_main_process=True),
        args=SimpleNamespace(server_patience_seconds=1.0),
        state=SimpleNamespace(global_step=0),
        _last_loaded_step=0,
    )

    def single_turn(prompt_ids):
        output = client.generate(prompts=prompt_ids)
        return output["completion_ids"], output["logprobs"]

    with pytest.raises(vllm_server.ServerLost, match="http://nowhere did not answer for 1 s"):
        vllm_server.watched_single_turn(trainer, single_turn, [[1]])
