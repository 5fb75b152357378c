"""Attention inside documents: a packed row equals its documents alone, and no mask of T x T is built."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from k15_plugins.models.document_attention import document_attention, use_documents

SIZES = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
COLLATOR = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)


def llama(key_heads):
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=key_heads)).eval()


def packed(*lengths):
    torch.manual_seed(1)
    ids = torch.randint(1, 40, (sum(lengths),)).tolist()
    return COLLATOR([{"input_ids": ids, "seq_lengths": list(lengths)}])


def logits(model, batch):
    with torch.no_grad():
        return model(**{name: value for name, value in batch.items() if name != "labels"}, use_cache=False).logits[0]


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("lengths", [(7,), (5, 1, 9), (1, 1, 1)])
def test_a_packed_row_equals_its_documents_alone(key_heads, lengths):
    model = llama(key_heads)
    batch = packed(*lengths)
    with use_documents(model):
        together = logits(model, batch)
    start = 0
    for length in lengths:
        alone = model(input_ids=batch["input_ids"][:, start : start + length], use_cache=False).logits[0]
        torch.testing.assert_close(together[start : start + length], alone, rtol=0, atol=1e-5)
        start += length
    # Without the bounds of the documents the first one sees no other, and the others do.
    with use_documents(model):
        leaking = logits(model, {name: batch[name] for name in ("input_ids", "position_ids")})
    if len(lengths) > 1:
        assert (leaking[lengths[0] :] - together[lengths[0] :]).abs().max() > 1e-3


def test_gradients_are_those_of_a_mask():
    grads = []
    for documents in (True, False):
        model = llama(2).train()
        batch = packed(6, 4, 3)
        if documents:
            with use_documents(model):
                model(**batch, use_cache=False).loss.backward()
        else:
            model(**batch, use_cache=False).loss.backward()
        grads.append([weight.grad for weight in model.parameters()])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


class Largest(TorchDispatchMode):
    """Watches how large tensors get."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, torch.Tensor):
                self.elements = max(self.elements, each.numel())
        return result


def test_no_mask_of_all_pairs_of_tokens_is_built():
    model = llama(4)
    tokens = 2048
    batch = packed(*[256] * (tokens // 256))
    seen = {}
    for documents in (True, False):
        with Largest() as watch:
            if documents:
                with use_documents(model):
                    logits(model, batch)
            else:
                logits(model, batch)
        seen[documents] = watch.elements
    assert seen[False] >= tokens**2
    assert seen[True] < tokens**2 / 20


def test_the_implementation_before_comes_back_and_windows_are_refused():
    model = llama(4)
    with use_documents(model):
        assert model.config._attn_implementation == "documents"
        with pytest.raises(ValueError, match="takes one row at a time, got 2; set padding_free=true"):
            model(input_ids=torch.ones(2, 3, dtype=torch.long), use_cache=False)
    assert model.config._attn_implementation == "sdpa"
    config = MistralConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2, sliding_window=8)
    mistral = MistralForCausalLM(config)
    with use_documents(mistral):
        assert mistral.config._attn_implementation == "sdpa"
    mistral.set_attn_implementation("documents")
    with pytest.raises(ValueError, match=r"got one of 9 tokens in a layer that sees 8"):
        logits(mistral, packed(5, 9))
    logits(mistral, packed(5, 8))
    query = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match="attention over documents has no softcap, which this model needs"):
        document_attention(None, query, query, query, None, 1.0, softcap=30.0)
