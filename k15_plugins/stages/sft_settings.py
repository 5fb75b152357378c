"""Settings of TRL's `SFTConfig` that vanilla SFT refuses: they cut or mix rows, or would do nothing."""

import os
from typing import Any

from k15_plugins.trainers.option_checks import check_evaluation

_OF_TOKENIZING = {
    "assistant_only_loss": False,
    "completion_only_loss": None,
    "chat_template_path": None,
    "eos_token": None,
}
"""What TRL reads when it tokenizes itself, and its defaults."""


def check_settings(settings: Any) -> None:
    """Refuse what cannot be, does not go together, or has no effect on rows that are tokenized already.

    Args:
        settings: `SFTConfig`.

    Raises:
        ValueError: Naming the option, its value and the cure.
    """
    for name, default in _OF_TOKENIZING.items():
        value = getattr(settings, name)
        if value != default:
            raise ValueError(
                f"stage.args.{name} must be left out, for rows come to the trainer as tokens, with a loss on their "
                f"answers alone, got {value}; leave it out, and change the model's tokenizer if need be."
            )
    check_evaluation(settings, None)
    if settings.packing:
        _check_packing(settings)
    elif settings.padding_free and settings.max_length is not None:
        raise ValueError(
            f"stage.args.max_length must be null for rows without padding that are not packed, got "
            f"{settings.max_length}; set null, or stage.args.packing=true."
        )


def _check_packing(settings: Any) -> None:
    # Of rows that fit, bfd_split splits none.
    if settings.packing_strategy not in ("bfd", "bfd_split"):
        raise ValueError(
            f"stage.args.packing_strategy must be bfd, which keeps rows whole and apart, got "
            f"{settings.packing_strategy}; take bfd."
        )
    if settings.max_length is None:
        raise ValueError(
            "stage.args.max_length must be a number of tokens for packing, got null; set the length of a packed row, "
            "or stage.args.packing=false."
        )
    if int(os.environ.get("PARALLELISM_CONFIG_CP_SIZE", "1")) > 1:  # accelerate's
        raise ValueError(
            "stage.args.packing must be false with context parallelism, which sees no borders inside a packed row, "
            "got true; leave PARALLELISM_CONFIG_CP_SIZE out, or set stage.args.packing=false."
        )
