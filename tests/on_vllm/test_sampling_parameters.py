"""Sampling parameters mean the same on transformers and on vLLM, and what their names say: tested by distribution."""

import pieces
import pytest
import tiny
import torch
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM
from trl import GRPOTrainer

from k15_plugins import MirrorDescentConfig, MirrorDescentTrainer
from k15_plugins.models.tiny_reasoner import tiny_tokenizer

DRAWS = 3000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return pieces.save_model(tmp_path_factory.mktemp("model"), scale=20.0)


def wanted(logits_V, ids, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0):
    """The distribution by its definition."""
    logits_V = logits_V.double().clone()
    seen = torch.tensor(sorted(set(ids)))
    signed = logits_V[seen]
    logits_V[seen] = torch.where(signed > 0, signed / repetition_penalty, signed * repetition_penalty)
    probs_V = torch.softmax(logits_V / temperature, dim=0)
    if top_k:
        probs_V[probs_V < probs_V.topk(top_k).values[-1]] = 0
    ordered, order = probs_V.sort(descending=True)
    probs_V[order[ordered.cumsum(0) / ordered.sum() - ordered / ordered.sum() >= top_p]] = 0
    probs_V[probs_V < min_p * probs_V.max()] = 0
    return probs_V / probs_V.sum()


def first_tokens(folder, model, use_vllm, **sampling):
    settings = {"use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": 64} if use_vllm else {}
    trainer = MirrorDescentTrainer(
        model,
        [tiny.odd_start],
        MirrorDescentConfig(
            **tiny.arguments(
                folder, max_completion_length=1, model_init_kwargs={"dtype": "float32"}, **settings, **sampling
            )
        ),
        train_dataset=tiny.problems(),
        processing_class=tiny_tokenizer(),
    )
    if use_vllm:
        pieces.BUILT.append(trainer)
    torch.manual_seed(0)
    prompt = tiny_tokenizer()("7 + 1 =")["input_ids"]
    ids, _ = GRPOTrainer._generate_single_turn(trainer, [prompt] * DRAWS, None, {}, 1)
    return prompt, torch.bincount(torch.tensor([row[0] for row in ids]), minlength=len(tiny_tokenizer()))


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.0},
        {"temperature": 0.6},
        {"temperature": 1.5, "top_k": 4},
        {"top_p": 0.7},
        {"temperature": 1.4, "min_p": 0.3},
        {"repetition_penalty": 1.6},
    ],
    ids=str,
)
@pytest.mark.parametrize("use_vllm", [False, True], ids=["transformers", "vllm"])
def test_first_tokens_follow_the_definition(tmp_path, model, use_vllm, sampling):
    prompt, counts_V = first_tokens(tmp_path, model, use_vllm, **sampling)
    with torch.no_grad():
        logits_V = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([prompt])).logits[0, -1]
    probs_V = wanted(logits_V, prompt, **sampling)
    assert counts_V[probs_V == 0].sum() == 0
    common = DRAWS * probs_V >= 5  # the rest goes into one bin
    observed = [*counts_V[common].tolist(), counts_V[~common].sum().item()]
    expected = [*(DRAWS * probs_V[common]).tolist(), (DRAWS * probs_V[~common]).sum().item()]
    kept = [place for place, number in enumerate(expected) if number > 0]
    assert len(kept) > 2
    assert chisquare([observed[place] for place in kept], [expected[place] for place in kept]).pvalue > 1e-4
