"""Adapters of peft, checked against a model's config before its weights are loaded."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from k15_plugins.extras import optional_import


def check_target_modules(name: str, adapters: Any, config: PretrainedConfig) -> None:
    """Refuse adapters that peft cannot put on a model: it is tried on a model without weights.

    Args:
        name: What the adapters are called where they were given, such as `model.lora`.
        adapters: A `peft.PeftConfig`, or None.
        config: Of the model.

    Raises:
        ValueError: Naming the modules that the model has, if it has none of those that are asked for.
    """
    targets = getattr(adapters, "target_modules", None)
    if targets is None or targets == "all-linear":
        return
    with optional_import():
        from peft.tuners.tuners_utils import check_target_module_exists

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    linear = [path for path, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    if any(check_target_module_exists(adapters, path) for path, _ in model.named_modules() if path):
        return
    known = dict.fromkeys(path.rpartition(".")[2] for path in linear)
    shown = targets if isinstance(targets, str) else sorted(targets)
    raise ValueError(
        f"{name}.target_modules must name modules of the model, got {shown!r:.100}; take some of {', '.join(known)}, "
        "or all-linear."
    )
