"""Long responses: memory does not grow with the vocabulary or the square of the tokens."""

import gc
import random
from pathlib import Path

import pytest
import tiny
import torch
from datasets import Dataset
from test_partial_rollouts import GREEDY, trained
from transformers import LlamaConfig, LlamaForCausalLM
from trl import GRPOTrainer
from trl.kernels import chunked_logprob

from k15_plugins import MirrorDescentTrainer
from k15_plugins.generation import segments
from k15_plugins.generation.segments import batches_of_similar_lengths


class AsTRL(MirrorDescentTrainer):
    _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies


def trainer_of_a_long_and_a_short_response(folder, tokens, entries=128, trainer_class=MirrorDescentTrainer, **changes):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=entries, max_position_embeddings=2 * tokens, **sizes))

    def fixed(prompts, trainer):
        source = random.Random(0)
        responses = [[source.randrange(3, 128) for _ in range(length)] for length in (tokens, 16)]
        return {"prompt_ids": [[5, 6, 7], [5, 6]], "completion_ids": responses, "logprobs": None}

    settings = {
        "per_device_train_batch_size": 1,
        "num_generations": 2,
        "max_completion_length": tokens,
        "max_steps": 2,
    }
    return tiny.trainer(
        folder,
        trainer_class,
        model=model,
        rollout_func=fixed,
        reward_funcs=[lambda completion_ids, **_: [float(len(ids) > 16) for ids in completion_ids]],
        train_dataset=Dataset.from_dict({"prompt": ["1 + 2 ="] * 4}),
        **settings | changes,
    )


@pytest.fixture
def attended(monkeypatch):
    """Lengths of the queries and the masks of each call of attention."""
    calls = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def watched(query, key, value, attn_mask=None, **kwargs):
        calls.append((query.size(2), attn_mask))
        return attention(query, key, value, attn_mask=attn_mask, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    return calls


def test_no_mask_of_tokens_squared_is_built_and_short_rows_stay_short(tmp_path, attended):
    trainer_of_a_long_and_a_short_response(tmp_path, 8192).train()
    # Log pi_ref, the update, and its recomputation by gradient checkpointing, in two layers, of two responses.
    assert sorted(length for length, _ in attended) == [18] * 6 + [8195] * 6
    assert all(mask is None for _, mask in attended)


def test_the_test_above_would_notice(tmp_path, attended):
    trainer_of_a_long_and_a_short_response(tmp_path, 512, trainer_class=AsTRL).train()
    assert {length for length, _ in attended} == {515}
    assert any(mask is not None and mask.numel() == 515**2 for _, mask in attended)


def test_cutting_rows_changes_no_figure(tmp_path):
    trained_ones = []
    for kind in (MirrorDescentTrainer, AsTRL):  # one after the other: they share the random state
        trainer = trainer_of_a_long_and_a_short_response(tmp_path, 40, trainer_class=kind, learning_rate=1e-2)
        trainer.train()
        trained_ones.append(trainer)
    ours, theirs = trained_ones
    for name in ("loss", "grad_norm", "entropy", "k15/rho_abs_mean"):
        assert tiny.logs(ours, name) == pytest.approx(tiny.logs(theirs, name), rel=1e-4, abs=1e-6), name
    one, other = (trainer._buffered_inputs for trainer in (ours, theirs))
    for mine, other_one in zip(one, other, strict=True):
        torch.testing.assert_close(mine["old_per_token_logps"], other_one["old_per_token_logps"], rtol=1e-5, atol=1e-5)


def resident_mb(name: str) -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak of memory from Linux")
def test_peak_memory_does_not_grow_with_the_vocabulary(tmp_path, monkeypatch):
    # So that the head's one tile, of 4,096 tokens and held several times without Triton, does not hide the rest.
    monkeypatch.setattr(chunked_logprob, "TOKEN_CHUNK_SIZE", 32)
    tokens, entries = 4096, 8192
    grown_mb = []
    for vocabulary in (128, entries):
        trainer = trainer_of_a_long_and_a_short_response(tmp_path, tokens, vocabulary)
        gc.collect()
        before_mb = resident_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        trainer.train()
        grown_mb.append(resident_mb("VmHWM") - before_mb)
    # Logits of all tokens, once; the weights of both ends with gradients and Adam's state take 5 MB.
    logits_mb = tokens * entries * 4 / 2**20
    assert grown_mb[1] - grown_mb[0] < logits_mb / 2, grown_mb


def test_batches_of_similar_lengths():
    assert batches_of_similar_lengths([10, 4096, 0]) == [[0, 1, 2]]
    assert batches_of_similar_lengths([9000, 5, 4097, 8192, 131_072, 100_000]) == [[1], [2, 3], [0], [4, 5]]


def test_long_contexts_are_generated_apart_in_pieces_and_come_out_the_same(tmp_path, monkeypatch, attended):
    frozen = {"learning_rate": 0.0, "generation_kwargs": GREEDY, "max_steps": 8}
    _, whole = trained(tmp_path, **frozen)
    expected = {each["problem"]: each["response"] for each in whole.rollouts}
    attended.clear()
    monkeypatch.setattr(segments, "_SHORT_CONTEXT_TOKENS", 4)
    monkeypatch.setattr(segments, "_PREFILL_PIECE_TOKENS", 3)
    trainer, pieces = trained(tmp_path, **frozen, rollout_budget_tokens=5)
    assert len(pieces.rollouts) >= 8
    assert any(len(each["segments"]) > 2 for each in pieces.rollouts)
    known = [each for each in pieces.rollouts if each["problem"] in expected]
    assert len(known) >= 8
    assert all(each["response"] == expected[each["problem"]] for each in known)
    assert max(tiny.logs(trainer, "k15/rollout_logp_gap_max")) < 1e-5
    masked = [length for length, mask in attended if mask is not None and mask.size(-1) > length]
    assert max(masked) == 3
