"""Merging adapters of LoRA: the average of what they add to the weights, not of their factors."""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from k15_plugins.files.whole import whole_folder

_SAME = (
    "peft_type",
    "base_model_name_or_path",
    "target_modules",
    "fan_in_fan_out",
    "modules_to_save",
    "trainable_token_indices",
)
_UNSUPPORTED = (
    "rank_pattern",
    "alpha_pattern",
    "use_dora",
    "lora_bias",
    "layer_replication",
    "megatron_config",
    "alora_invocation_tokens",
    "target_parameters",
    "use_bdlora",
    "use_qalora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
)
# These change the base model when the adapter is loaded, by its rank; the merged rank would change it otherwise.
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def merge_adapters(folders: Sequence[Path], output: Path, weights: Sequence[float]) -> Path:
    """Merge adapters of one base model into the adapter that adds the weighted average of what they add, exactly.

    An adapter adds scale * B @ A; the average of the products is not the product of the averages. So the factors are
    laid side by side, and the rank of the result is the sum of the ranks. What is saved whole (`modules_to_save`) is
    averaged.

    Args:
        folders: Folders of adapters, with `adapter_config.json`.
        output: Folder of the result; must be new or empty.
        weights: Weight of each adapter.

    Returns:
        `output`.

    Raises:
        ValueError: If the adapters are not LoRA on one base model, with one rank each; it names the first difference.
    """
    # Adapters are small, and torch knows their types.
    import torch
    from safetensors.torch import load_file, save_file

    configs = [json.loads((folder / "adapter_config.json").read_text()) for folder in folders]
    _check(configs, folders)
    adapters = [load_file(folder / "adapter_model.safetensors") for folder in folders]
    for folder, adapter in zip(folders[1:], adapters[1:], strict=True):
        if different := sorted(adapters[0].keys() ^ adapter.keys()):
            raise ValueError(f"{different[0]} is not in both {folders[0]} and {folder}; merge adapters of one kind.")
    merged = {}
    for name, first in adapters[0].items():
        parts = [adapter[name].float() for adapter in adapters]
        if "lora_A" in name or "lora_embedding_A" in name:
            value = torch.cat(parts, dim=0)
        elif "lora_B" in name or "lora_embedding_B" in name:
            scales = [weight * _scale(config) for weight, config in zip(weights, configs, strict=True)]
            value = torch.cat([scale * part for scale, part in zip(scales, parts, strict=True)], dim=1)
        else:
            value = torch.stack([weight * part for weight, part in zip(weights, parts, strict=True)]).sum(dim=0)
        merged[name] = value.to(first.dtype).contiguous()
    rank = sum(config["r"] for config in configs)
    with whole_folder(output) as half:
        for file in folders[0].iterdir():
            if file.is_file() and file.name.startswith(("tokenizer", "special_tokens", "chat_template")):
                shutil.copy2(file, half / file.name)
        # lora_alpha = r makes the scale 1: the scales are in B already.
        config = configs[0] | {"r": rank, "lora_alpha": rank, "use_rslora": False}
        (half / "adapter_config.json").write_text(json.dumps(config, indent=2))
        save_file(merged, half / "adapter_model.safetensors", metadata={"format": "pt"})
    return output


def _scale(config: dict) -> float:
    return config["lora_alpha"] / (math.sqrt(config["r"]) if config.get("use_rslora") else config["r"])


def _check(configs: list[dict], folders: Sequence[Path]) -> None:
    for folder, config in zip(folders, configs, strict=True):
        if config["peft_type"] != "LORA" or config.get("bias", "none") != "none":
            raise ValueError(f"{folder} is not an adapter of LoRA without biases; merge it into its model first.")
        start = config.get("init_lora_weights")
        if isinstance(start, str) and start.startswith(_CHANGE_THE_BASE):
            raise ValueError(
                f"{folder}: init_lora_weights={start} changes the base model; merge the adapter into its model first."
            )
        for key in _UNSUPPORTED:
            if config.get(key):
                raise ValueError(
                    f"{folder}: {key}={config[key]} cannot be merged; merge the adapter into its model first."
                )
        for key in _SAME:
            ours, theirs = (each.get(key) for each in (configs[0], config))
            if isinstance(ours, list) and isinstance(theirs, list):
                ours, theirs = sorted(ours), sorted(theirs)
            if ours != theirs:
                raise ValueError(
                    f"adapter_config.json: {key} is {ours} in {folders[0]} and {theirs} in {folder}; "
                    "merge adapters of one base model."
                )
