"""Dropout that TRL's `disable_dropout` does not reach."""

import torch


def silence_dropout_attributes(model: torch.nn.Module) -> None:
    """Set dropout rates that are plain attributes, as the attention of Llama and Qwen has them, to 0.

    TRL's `disable_dropout` reaches only `nn.Dropout` modules.

    Args:
        model: Changed in place.
    """
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if name.endswith(("dropout", "pdrop", "layerdrop")) and isinstance(value, float):
                setattr(module, name, 0.0)
