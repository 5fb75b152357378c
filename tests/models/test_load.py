"""Models that a run starts from: an adapter goes on being trained, on its own base."""

import pytest
import tiny
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from k15_plugins.models import hub


def save_adapter(folder):
    """Save a tiny model, and an adapter of it that does something."""
    tiny.model().save_pretrained(folder / "base")
    tiny.tiny_tokenizer().save_pretrained(folder / "base")
    base, tokenizer = hub(str(folder / "base"))
    model = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.5)
    model.save_pretrained(folder / "adapter")
    return model, tokenizer


def test_an_adapter_is_trained_further(tmp_path):
    saved, tokenizer = save_adapter(tmp_path)
    # Beside an adapter stands a tokenizer, or else it is the base model's.
    for place in ("base", "adapter"):
        loaded, found = hub(str(tmp_path / "adapter"))
        assert found.get_vocab() == tokenizer.get_vocab(), place
        tokenizer.save_pretrained(tmp_path / "adapter")
    assert isinstance(loaded, PeftModel)
    trained = {name for name, value in loaded.named_parameters() if value.requires_grad}
    assert trained == {name for name, _ in loaded.named_parameters() if "lora_" in name} != set()
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, saved.eval()(ids).logits)


def test_an_adapter_on_an_adapter_and_one_without_a_base_are_refused(tmp_path):
    save_adapter(tmp_path)
    with pytest.raises(ValueError, match=r"model\.name=.*adapter is an adapter already; leave model\.lora at null"):
        hub(str(tmp_path / "adapter"), lora=LoraConfig(r=2))
    get_peft_model(tiny.model(), LoraConfig(r=2, target_modules="all-linear")).save_pretrained(tmp_path / "orphan")
    with pytest.raises(
        ValueError, match=r"model\.name=.*orphan is an adapter that names no base model; write it into"
    ):
        hub(str(tmp_path / "orphan"))


def test_adapters_of_no_module_are_refused_before_the_weights_are_loaded(tmp_path, monkeypatch):
    tiny.model().save_pretrained(tmp_path)
    tiny.tiny_tokenizer().save_pretrained(tmp_path)
    for targets in (["q_proj", "v_proj"], r".*\.down_proj", "all-linear", None):
        model, _ = hub(str(tmp_path), lora=LoraConfig(target_modules=targets, task_type="CAUSAL_LM"))
        assert isinstance(model, PeftModel)
    load = "transformers.AutoModelForCausalLM.from_pretrained"
    monkeypatch.setattr(load, lambda *_, **__: pytest.fail("the weights were loaded"))
    message = r"model\.lora\.target_modules must name modules of the model, got \['foo'\]; take some of q_proj, k_proj"
    with pytest.raises(ValueError, match=message):
        hub(str(tmp_path), lora=LoraConfig(target_modules=["foo"]))
