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
    with pytest.raises(ValueError, match="output_dir must be empty, got"):
        merge_with_mergekit([one, two], merged, "slerp", t=0.5)


def test_task_arithmetic_adds_what_each_model_adds_to_the_base(tmp_path):
    base, one, two = (save(tmp_path / name, seed) for seed, name in enumerate(("base", "one", "two")))
    merged = merge_with_mergekit([one, two], tmp_path / "merged", "task_arithmetic", [1.0, 0.5], base_model=base)
    a, b, start, found = (weights_of(folder) for folder in (one, two, base, merged))
    for name in start:
        wanted = start[name] + (a[name] - start[name]) + 0.5 * (b[name] - start[name])
        torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="weights must sum to 1, got"):
        merge_with_mergekit([one, two], tmp_path / "out", "linear", [1.0, 0.5])
    with pytest.raises(ValueError, match=r"weights must be finite numbers, got"):
        merge_with_mergekit([one, two], tmp_path / "out", "task_arithmetic", [1.0, float("nan")], base_model=base)
