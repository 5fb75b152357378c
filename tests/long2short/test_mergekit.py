"""mergekit's methods on tiny real models."""

import pytest
import torch
from long2short.test_merge import save, weights_of
from transformers import AutoModelForCausalLM

from k15_plugins.long2short.merge import merge_checkpoints
from k15_plugins.long2short.mergekit_methods import merge_with_mergekit


def test_its_linear_merge_agrees_with_ours(tmp_path):
    one, two = save(tmp_path / "one", 1), save(tmp_path / "two", 2)
    theirs = weights_of(merge_with_mergekit([one, two], tmp_path / "theirs", "linear", [0.3, 0.7]))
    ours = weights_of(merge_checkpoints([one, two], tmp_path / "ours", [0.3, 0.7]))
    assert ours.keys() <= theirs.keys()  # it may store the tied output layer
    for name in ours:
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-6, atol=1e-7)


def test_ties(tmp_path):
    base, one, two = (save(tmp_path / name, seed) for seed, name in enumerate(("base", "one", "two")))
    merged = merge_with_mergekit([one, two], tmp_path / "merged", "ties", base_model=base, density=0.5)
    assert AutoModelForCausalLM.from_pretrained(merged).generate(torch.tensor([[5]]), max_new_tokens=2).shape == (1, 3)
    with pytest.raises(ValueError, match="is not empty"):
        merge_with_mergekit([one, two], merged, "slerp", t=0.5)
