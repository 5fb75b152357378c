"""Merging against the closed form, on real checkpoints; what is refused; what a kill leaves; memory."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from k15_plugins.long2short.merge import merge_checkpoints

ROOT = Path(__file__).parents[2]


def save(folder, seed, dtype=torch.float32, shard=None, **config):
    model = tiny.model(seed)
    for key, value in config.items():
        setattr(model.config, key, value)
    model.to(dtype).save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    tiny.tiny_tokenizer().save_pretrained(folder)
    return folder


def weights_of(folder):
    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_the_average_is_the_closed_form_bit_by_bit(dtype, tmp_path):
    one, two = save(tmp_path / "one", 1, dtype), save(tmp_path / "two", 2, dtype)
    merged = merge_checkpoints([one, two], tmp_path / "merged", [0.3, 0.7])
    sums = torch.float64 if dtype == torch.float64 else torch.float32
    a, b, found = weights_of(one), weights_of(two), weights_of(merged)
    assert found.keys() == a.keys()
    for name in found:
        wanted = torch.tensor(0.3, dtype=sums) * a[name].to(sums) + torch.tensor(0.7, dtype=sums) * b[name].to(sums)
        assert found[name].dtype == dtype
        assert torch.equal(found[name], wanted.to(dtype)), name
    # The plain average is the default, and the result is a model like any other.
    plain = weights_of(merge_checkpoints([one, two], tmp_path / "plain"))
    norm = "model.norm.weight"
    assert torch.equal(plain[norm], (0.5 * a[norm].to(sums) + 0.5 * b[norm].to(sums)).to(dtype))
    model = AutoModelForCausalLM.from_pretrained(merged)
    assert model.generate(torch.tensor([[5, 6]]), max_new_tokens=3).shape == (1, 5)
    assert (merged / "tokenizer.json").read_bytes() == (one / "tokenizer.json").read_bytes()


def test_shards_and_types_may_differ_and_are_the_firsts(tmp_path):
    one = save(tmp_path / "one", 1, torch.bfloat16, shard="8KB")
    two, three = save(tmp_path / "two", 2), save(tmp_path / "three", 3, torch.float16, shard="20KB")
    assert len(list(one.glob("*.safetensors"))) > 2
    merged = merge_checkpoints([one, two, three], tmp_path / "merged", [0.5, 0.25, 0.25])
    assert [file.name for file in sorted(merged.glob("model*"))] == [file.name for file in sorted(one.glob("model*"))]
    a, b, c = weights_of(one), weights_of(two), weights_of(three)
    for name, value in weights_of(merged).items():
        wanted = 0.5 * a[name].float() + 0.25 * b[name].float() + 0.25 * c[name].float()
        assert torch.equal(value, wanted.to(torch.bfloat16)), name
    AutoModelForCausalLM.from_pretrained(merged)


def test_rounding_to_bfloat16_is_torchs(tmp_path):
    values = torch.tensor(np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32))
    special = torch.tensor([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1.00390625, 1.01171875])
    from k15_plugins.long2short.merge import _decode, _encode

    for each in (values, special):
        found = _decode(_encode(each.numpy(), "BF16"), "BF16")
        torch.testing.assert_close(torch.tensor(found), each.bfloat16().float(), rtol=0, atol=0, equal_nan=True)


def test_a_tied_output_layer_may_be_stored_or_not(tmp_path):
    one, two = (save(tmp_path / name, seed, tie_word_embeddings=True) for seed, name in enumerate(("one", "two")))
    for folder in (one, two):
        file = folder / "model.safetensors"
        tensors = load_file(file)
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        save_file(tensors, file, metadata={"format": "pt"})
    stored = weights_of(merge_checkpoints([one, two], tmp_path / "both"))
    tensors = load_file(two / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, two / "model.safetensors", metadata={"format": "pt"})
    mixed = weights_of(merge_checkpoints([one, two], tmp_path / "a"))
    assert torch.equal(mixed["lm_head.weight"], stored["lm_head.weight"])
    assert "lm_head.weight" not in weights_of(merge_checkpoints([two, one], tmp_path / "b"))
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1
    save_file(tensors, one / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"one has an output layer of its own .* name .*one first"):
        merge_checkpoints([two, one], tmp_path / "c")
    # The other way round the result has an output layer of its own, too.
    (one / "config.json").write_text(
        (one / "config.json").read_text().replace('embeddings": true', 'embeddings": false')
    )
    untied = merge_checkpoints([one, two], tmp_path / "d")
    model = AutoModelForCausalLM.from_pretrained(untied)
    embedding = weights_of(two)["model.embed_tokens.weight"]
    assert torch.equal(model.lm_head.weight, 0.5 * tensors["lm_head.weight"] + 0.5 * embedding)


def test_a_tied_output_layer_that_is_stored_takes_no_other(tmp_path):
    one, two = (save(tmp_path / name, seed, tie_word_embeddings=True) for seed, name in enumerate(("one", "two")))
    for folder, change in ((one, 0), (two, 1)):
        tensors = load_file(folder / "model.safetensors")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + change
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"two has an output layer of its own .* that of .*one is tied"):
        merge_checkpoints([one, two], tmp_path / "out")


def test_numbers_that_are_no_weights_have_to_be_equal(tmp_path):
    one, two = save(tmp_path / "one", 1), save(tmp_path / "two", 2)
    for folder in (one, two):
        tensors = load_file(folder / "model.safetensors") | {
            "model.steps": torch.arange(5),
            "model.scale": torch.tensor(2.0),
        }
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    merged = weights_of(merge_checkpoints([one, two], tmp_path / "merged"))
    assert torch.equal(merged["model.steps"], torch.arange(5))
    assert torch.equal(merged["model.scale"], torch.tensor(2.0))
    save_file(tensors | {"model.steps": torch.arange(1, 6)}, two / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"model\.steps must be equal in all models, for I64 have no average"):
        merge_checkpoints([one, two], tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_weights_and_numbers_that_are_no_weights_do_not_mix(tmp_path):
    one, two = save(tmp_path / "one", 1), save(tmp_path / "two", 2)
    for folder, value in ((one, torch.tensor([1.0, 2.0])), (two, torch.tensor([1, 2]))):
        tensors = load_file(folder / "model.safetensors") | {"x": value}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for first, second, types in ((one, two, "I64 in .*two and F32 in"), (two, one, "F32 in .*one and I64 in")):
        with pytest.raises(ValueError, match=f"x has the type {types}.*; merge models of one kind"):
            merge_checkpoints([first, second], tmp_path / "out")


def test_a_folder_beside_the_tokenizer_is_left_out(tmp_path):
    one, two = save(tmp_path / "one", 1), save(tmp_path / "two", 2)
    (one / "tokenizer_training").mkdir()
    merged = merge_checkpoints([one, two], tmp_path / "merged")
    assert (merged / "tokenizer.json").exists()
    assert not (merged / "tokenizer_training").exists()


def test_configs_may_say_the_same_in_other_words(tmp_path):
    one, two = save(tmp_path / "one", 1), save(tmp_path / "two", 2)
    file = two / "config.json"
    new = json.loads(file.read_text())
    # Training sets these on the model that it is given.
    tokens = {"pad_token_id": 7, "bos_token_id": 8, "eos_token_id": [1, 9]}
    file.write_text(json.dumps(new | tokens))
    merge_checkpoints([one, two], tmp_path / "tokens")
    (one / "config.json").write_text(json.dumps(new | {"text_config": {"pad_token_id": 1}}))
    file.write_text(json.dumps(new | {"text_config": {"pad_token_id": 2}}))
    merge_checkpoints([one, two], tmp_path / "inner")
    (one / "config.json").write_text(json.dumps(new))
    # As transformers 4 wrote it.
    old = {key: value for key, value in new.items() if key not in ("rope_parameters", "head_dim", "dtype")}
    old |= {"rope_theta": new["rope_parameters"]["rope_theta"], "rope_scaling": None, "torch_dtype": "float32"}
    file.write_text(json.dumps(old))
    merged = merge_checkpoints([one, two], tmp_path / "old")
    assert json.loads((merged / "config.json").read_text()) == json.loads((one / "config.json").read_text())
    file.write_text(json.dumps(old | {"rope_theta": 5000.0}))
    with pytest.raises(ValueError, match=r"config\.json: rope_parameters is .*10000.* in .*one and .*5000.* in .*two"):
        merge_checkpoints([one, two], tmp_path / "out")
    # A model whose code is not in transformers is compared by what stands in the file.
    for folder, size in ((one, 1), (two, 2)):
        (folder / "config.json").write_text(json.dumps(new | {"model_type": "own", "own_size": size}))
    with pytest.raises(ValueError, match=r"config\.json: own_size is 1 in .*one and 2 in .*two"):
        merge_checkpoints([one, two], tmp_path / "out")


def test_an_unsharded_file_goes_before_the_index_of_an_earlier_save(tmp_path):
    one, two = save(tmp_path / "one", 1), save(tmp_path / "two", 2)
    (one / "model.safetensors.index.json").write_text('{"weight_map": {"gone": "model-00001-of-00009.safetensors"}}')
    merged = merge_checkpoints([one, two], tmp_path / "merged", [0.5, 0.5])
    assert [file.name for file in merged.glob("*safetensors*")] == ["model.safetensors"]
    norm = "model.norm.weight"
    assert torch.equal(weights_of(merged)[norm], 0.5 * weights_of(one)[norm] + 0.5 * weights_of(two)[norm])


def test_a_negative_weight_goes_beyond_the_other_model(tmp_path):
    one, two = save(tmp_path / "one", 1), save(tmp_path / "two", 2)
    a, b = weights_of(one), weights_of(two)
    for name, value in weights_of(merge_checkpoints([one, two], tmp_path / "merged", [1.5, -0.5])).items():
        assert torch.equal(value, 1.5 * a[name] - 0.5 * b[name]), name


def test_an_adapter_adds_the_average_of_what_both_add(tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    base = save(tmp_path / "base", 0)

    def deltas(folder):
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).merge_and_unload()
        before = dict(AutoModelForCausalLM.from_pretrained(base).named_parameters())
        return {name: value.detach() - before[name].detach() for name, value in model.named_parameters()}

    for name, rank, alpha, rslora in (("one", 2, 8, False), ("two", 3, 4, True)):
        config = LoraConfig(r=rank, lora_alpha=alpha, use_rslora=rslora, target_modules=["q_proj", "down_proj"])
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        torch.manual_seed(rank)
        for key, value in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(value, std=0.1)
        model.save_pretrained(tmp_path / name)
    merged = merge_checkpoints([tmp_path / "one", tmp_path / "two"], tmp_path / "merged", [0.25, 0.75])
    one, two, found = deltas(tmp_path / "one"), deltas(tmp_path / "two"), deltas(merged)
    assert json.loads((merged / "adapter_config.json").read_text())["r"] == 5
    for name in found:
        torch.testing.assert_close(found[name], 0.25 * one[name] + 0.75 * two[name], rtol=1e-5, atol=1e-6)
    assert max(delta.abs().max() for delta in found.values()) > 0.01
    with pytest.raises(ValueError, match=r"is an adapter and .* a whole model"):
        merge_checkpoints([tmp_path / "one", base], tmp_path / "mixed")


@pytest.mark.parametrize(
    "field",
    [
        "target_parameters",
        "use_qalora",
        "use_bdlora",
        "kasa_config",
        "monteclora_config",
        "velora_config",
        "arrow_config",
    ],
)
def test_adapters_that_add_something_else_than_their_product_are_refused(field, tmp_path):
    from peft import LoraConfig, get_peft_model

    for name in ("one", "two"):
        get_peft_model(tiny.model(), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path / name)
        config = json.loads((tmp_path / name / "adapter_config.json").read_text())
        assert field in config
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(config | {field: ["something"]}))
    with pytest.raises(
        ValueError, match=rf"one: {field}=\['something'\] cannot be merged; merge the adapter into its"
    ):
        merge_checkpoints([tmp_path / "one", tmp_path / "two"], tmp_path / "out")


def test_what_does_not_belong_together_is_refused(tmp_path):
    one, two = save(tmp_path / "one", 1), save(tmp_path / "two", 2)
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="checkpoints must have two or more models, got 1"):
        merge_checkpoints([one], out)
    with pytest.raises(ValueError, match="each of the 2 checkpoints, got 3"):
        merge_checkpoints([one, two], out, [0.2, 0.3, 0.5])
    with pytest.raises(ValueError, match=r"weights must sum to 1, got 0\.9"):
        merge_checkpoints([one, two], out, [0.4, 0.5])
    for weights in ([float("nan"), 1.0], [float("inf"), 0.0], ["0.5", "0.5"]):
        with pytest.raises(ValueError, match=r"weights must be finite numbers, got .*; set one for each model"):
            merge_checkpoints([one, two], out, weights)
    with pytest.raises(ValueError, match=r"checkpoints must be a list of folders, got '.*one'; give two or more"):
        merge_checkpoints(str(one), out)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"output_dir must be a folder, got the file .*file"):
        merge_checkpoints([one, two], tmp_path / "file")
    with pytest.raises(ValueError, match=r"got .*nowhere, which does not exist"):
        merge_checkpoints([one, tmp_path / "nowhere"], out)
    with pytest.raises(ValueError, match=r"output_dir must be empty, got .*two"):
        merge_checkpoints([one, two], two)
    other = save(tmp_path / "heads", 2, rms_norm_eps=1e-3)
    with pytest.raises(ValueError, match=r"config\.json: rms_norm_eps is 1e-06 in .*one and 0\.001 in .*heads"):
        merge_checkpoints([one, other], out)
    tokenizer = json.loads((two / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["wait"], tokenizer["model"]["vocab"]["ok"] = 10, 9
    (two / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match=r"the tokenizers differ: token 'ok' has the id \d+ in .*one and 9 in"):
        merge_checkpoints([one, two], out)
    for folder, text in ((one, "a 1"), (two, "a 2")):
        (folder / "vocab.txt").write_text(text)
    (two / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"the tokenizers differ: vocab\.txt is not the same in .*one and .*two"):
        merge_checkpoints([one, two], out)
    tensors = load_file(other / "model.safetensors")
    tensors["model.norm.weight"] = torch.zeros(17)
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    (other / "config.json").write_bytes((one / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"model\.norm\.weight has the shape \[17\] in .*heads and \[16\] in .*one"):
        merge_checkpoints([one, other], out)
    del tensors["model.norm.weight"]
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"heads has no tensor model\.norm\.weight"):
        merge_checkpoints([one, other], out)
    assert not out.exists()
    assert not list(tmp_path.glob(".out*"))


def large(folder, megabytes, shards=2):
    """A checkpoint of zeros in bfloat16, which need not be a model to be merged, nor take room on the disk."""
    folder.mkdir()
    rows = megabytes * 2**20 // shards // 2048
    weight_map = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        header = json.dumps({f"w{shard}": {"dtype": "BF16", "shape": [rows, 1024], "data_offsets": [0, rows * 2048]}})
        (folder / name).write_bytes(len(header).to_bytes(8, "little") + header.encode())
        os.truncate(folder / name, 8 + len(header) + rows * 2048)
        weight_map[f"w{shard}"] = name
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


MERGE = (
    "import sys; sys.path.insert(0, sys.argv[4]);"
    "from k15_plugins.long2short.merge import merge_checkpoints as m; m(sys.argv[1:3], sys.argv[3])"
)


def test_memory_does_not_follow_the_model(tmp_path):
    one, two = large(tmp_path / "one", 512), large(tmp_path / "two", 512)

    def limit():
        # All that a process can have of its own, whether it is in use or not.
        resource.setrlimit(resource.RLIMIT_DATA, (200 * 2**20, 200 * 2**20))

    command = [sys.executable, "-c", MERGE, one, two, tmp_path / "out", ROOT]
    env = os.environ | {"OMP_NUM_THREADS": "1"}  # the stacks of threads would count
    done = subprocess.run(command, preexec_fn=limit, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model-00002-of-00002.safetensors").stat().st_size > 250 * 2**20


def test_a_kill_leaves_no_half_model(tmp_path):
    one, two = large(tmp_path / "one", 256), large(tmp_path / "two", 256)
    out, half = tmp_path / "out", tmp_path / ".out.half"
    command = [sys.executable, "-c", MERGE, one, two, out, ROOT]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not list(half.glob("*.safetensors")):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert half.exists()
    assert not out.exists()
    merge_checkpoints([one, two], out)
    assert not half.exists()
    assert len(list(out.glob("*.safetensors"))) == 2
