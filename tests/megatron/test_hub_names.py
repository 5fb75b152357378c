"""The ranks find the weights of a model by its name on the Hub, as they find its config."""

import torch
from huggingface_hub import constants
from small_models import save

from k15_plugins.megatron.weights.exchange import _Checkpoint, _files_of


def test_weights_are_found_by_name_and_by_folder(tmp_path, monkeypatch):
    # What huggingface_hub keeps of a model that was once fetched.
    kept = tmp_path / "models--some--model"
    snapshot = kept / "snapshots" / "0123456789"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(snapshot.name)
    model = save("llama", snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("some/model", str(snapshot)):
        found = _Checkpoint(_files_of(name))["model.norm.weight"]
        assert torch.equal(found, model.model.norm.weight)
