"""Weights from a Megatron job to vLLM: exact after every update, whatever the layout, without a model in between."""

import pieces
import pytest
import test_server
import tiny
import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from k15_plugins.megatron.layout import MegatronLayout
from k15_plugins.megatron.settings import EngineSettings
from k15_plugins.models.tiny_reasoner import tiny_tokenizer


def save_mixture(folder):
    tokenizer = tiny_tokenizer()
    torch.manual_seed(1)
    model = Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=64,
            moe_intermediate_size=32,
            num_experts=4,
            num_experts_per_tok=2,
            norm_topk_prob=True,
            router_aux_loss_coef=0.0,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=256,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with torch.no_grad():
        model.get_output_embeddings().weight *= 8.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        ("untied", {"processes": 2, "tensor_parallel": 2}),
        ("tied", {"processes": 2, "pipeline_parallel": 2}),
        ("untied", {"processes": 2, "pipeline_parallel": 2, "virtual_pipeline": 2}),
        ("untied", {"processes": 2, "tensor_parallel": 2, "sequence_parallel": True}),
        ("untied", {"processes": 2}),
        ("mixture", {"processes": 2, "expert_parallel": 2}),
        pytest.param("tied", {"processes": 4, "tensor_parallel": 2, "pipeline_parallel": 2}, marks=pytest.mark.slow),
        pytest.param(
            "mixture",
            {"processes": 4, "tensor_parallel": 2, "expert_parallel": 2, "sequence_parallel": True},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(f"{name}{size}" for name, size in value.items()),
)
def test_the_engine_has_the_jobs_weights_after_every_update(tmp_path, kind, layout):
    flat = {"tied": True, "scale": 1.0, "ends": 1.0} if kind == "tied" else {}
    folder = (
        save_mixture(tmp_path / "model")
        if kind == "mixture"
        else pieces.save_model(tmp_path / "model", layers=2 * layout.get("virtual_pipeline", 1), **flat)
    )
    settings = EngineSettings(MegatronLayout(**layout), max_tokens_per_micro_batch=64)
    trainer, _ = pieces.build(tmp_path, folder, engine=settings, max_steps=8)
    assert all(each.is_meta for each in trainer.model.parameters())
    trainer.train()
    gaps = tiny.logs(trainer, "k15/rollout_logp_gap_max")
    assert len(gaps) >= 3
    assert max(gaps) <= 1e-5
    assert max(tiny.logs(trainer, "k15/rho_abs_max")) > 1e-2
    trainer.engine.close()


def test_a_server_has_the_jobs_weights_after_every_update(tmp_path):
    folder, port = pieces.save_model(tmp_path / "model"), test_server.free_port()
    settings = EngineSettings(MegatronLayout(processes=2, tensor_parallel=2))
    with test_server.server(folder, port, tmp_path / "server.log"):
        trainer, _ = test_server.build(tmp_path, folder, port, engine=settings)
        trainer.train()
    gaps = tiny.logs(trainer, "k15/rollout_logp_gap_max")
    assert len(gaps) >= 3
    assert max(gaps) <= 1e-5
    assert max(tiny.logs(trainer, "k15/rho_abs_max")) > 1e-2
    trainer.engine.close()
