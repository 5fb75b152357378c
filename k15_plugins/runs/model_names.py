"""Whether a model's name leads to a model, found out in a moment, before anything heavy is imported."""

import json
import re
from pathlib import Path
from typing import Any

_OWN = "k15_plugins.models."
_HUB = f"{_OWN}hub"
_ON_THE_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FILES = ("config.json", "adapter_config.json")
_OF_THE_EMBEDDED_MODEL = ("kimi_rl", "grpo", "smoke")
_REAL_FROM = 256
"""Width of the smallest model that is not one of our tiny ones."""


def check_models(config: dict[str, Any]) -> None:
    """Check the models that a config names.

    Args:
        config: The resolved config.

    Raises:
        ValueError: See `check_name`, or if the name is missing.
    """
    node, stage = config.get("model") or {}, config["stage"]
    lora = node.get("lora")
    if lora is not None and not (isinstance(lora, dict) and "_target_" in lora):
        raise ValueError(
            f"model.lora must be a node of peft.LoraConfig or null, got {lora!r:.100}; see model=smollm2_lora."
        )
    guess = stage.get("guess")
    if isinstance(guess, dict) and guess.get("model") is not None:
        check_name("stage.guess.model", guess["model"])
    several = stage.get("models")
    if node.get("_target_") != _HUB:
        if several and str(node.get("_target_")).startswith(_OWN):
            raise ValueError(
                f"stage.models names models that model=each loads, got {node['_target_']}; leave out model=..., or "
                "stage.models."
            )
        return
    if isinstance(several, dict) and several:
        for name, place in several.items():
            check_name(f"stage.models.{name}", place)
    elif node.get("name") is not None:
        check_name("model.name", node["name"])
    elif "models" in stage:
        raise ValueError(
            f"stage.models must name models to measure, got {several!r:.100}; set 'stage.models={{mine: FOLDER}}', "
            "or choose one by model=..."
        )
    elif not stage.keys() & {"run", "checkpoints"}:
        raise ValueError("model.name has no value; give it one by model.name=...")


def advice(recipe: str | None, config: dict[str, Any]) -> str | None:
    """Say that a recipe is sized for the embedded model, if the model is a real one.

    Args:
        recipe: Option of the group `recipe`.
        config: The resolved config, which passed `check_models`.
    """
    if recipe not in _OF_THE_EMBEDDED_MODEL or config["model"]["_target_"] != _HUB:
        return None
    file = Path(config["model"]["name"]).expanduser() / _FILES[0]
    if file.exists() and json.loads(file.read_text()).get("hidden_size", _REAL_FROM) < _REAL_FROM:
        return None
    args = config["trainer"]["args"]
    return (
        f"+recipe={recipe} is sized for the embedded model (learning_rate={args['learning_rate']}, "
        f"max_completion_length={args['max_completion_length']}, one thread); for a real one take +recipe=kimi_rl_hub"
    )


def check_name(field: str, name: Any) -> None:
    """Refuse a folder that is none of a model, and a name that is neither in the Hub's cache nor on the Hub.

    Args:
        field: Dotted key of the name.
        name: The name.

    Raises:
        ValueError: Naming the field, the name, and the cure.
    """
    wanted = f"{field} must be the folder of a model or a name on the Hub"
    if not isinstance(name, str) or not name:
        raise ValueError(f"{wanted}, got {name!r:.100}; give one.")
    place = Path(name).expanduser()
    if place.is_file():
        raise ValueError(f"{wanted}, got the file {name}; give its folder.")
    if place.is_dir():
        if not any((place / file).exists() for file in _FILES):
            raise ValueError(f"{wanted}, got {name}, which has no {_FILES[0]}; give the folder model/ of a run, say.")
        return
    first = name.partition("/")[0]
    if not _ON_THE_HUB.fullmatch(name) or first in (".", "..") or Path(first).exists():
        raise ValueError(f"{wanted}, and the folder {name} does not exist; correct the path.")
    _check_on_hub(wanted, name)


def _check_on_hub(wanted: str, name: str) -> None:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, RepositoryNotFoundError

    try:
        if any(isinstance(try_to_load_from_cache(name, file), str) for file in _FILES):
            return
        if constants.is_offline_mode():
            raise ValueError(
                f"{wanted}, and {name} is no folder here and not in the Hub's cache, which is all that HF_HUB_OFFLINE "
                f"allows; run hf download {name} where there is a network, or give a folder."
            )
        # One question without the retries of a download.
        get_hf_file_metadata(hf_hub_url(name, _FILES[0]), timeout=10)
    except EntryNotFoundError:
        return  # of adapters, perhaps: the repository is there
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ValueError(
            f"{wanted}, and the Hub has no {name} that you may see; correct it, or log in by hf auth login."
        ) from error
    except ValueError:
        raise
    except Exception as error:  # of the library that asks, which depends on its version
        raise ValueError(
            f"{wanted}, and {name} is no folder here, not in the Hub's cache, and the Hub cannot be reached "
            f"({_short(error)}); give a folder, or try again where there is a network."
        ) from error


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:150].rstrip(".")
