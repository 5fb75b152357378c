"""Whether checkpoints can be merged at all: their configs and vocabularies must be the same."""

import json
from pathlib import Path
from typing import Any

# What may differ between models that can be averaged: notes, the type of the weights, special tokens, which training
# sets, and whether the output layer is stored, which is looked at tensor by tensor.
_NOTES = {
    "_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "tie_word_embeddings",
    "pad_token_id", "bos_token_id", "eos_token_id",
}  # fmt: skip
_OLD_VOCABULARIES = ("tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt")


def check_configs(folders: list[Path]) -> dict[str, Any]:
    """Return the first model's config if the others' say the same of what matters.

    Args:
        folders: Of the models.

    Raises:
        ValueError: Naming the first difference.
    """
    configs = []
    for folder in folders:
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} has no config.json; give the folder of a model.")
        configs.append(json.loads((folder / "config.json").read_text()))
    for folder, config in zip(folders[1:], configs[1:], strict=True):
        if _difference(configs[0], config) is None:
            continue
        # The files of two versions of transformers can differ in words and say the same.
        difference = _difference(*(_as_transformers_reads_it(each) for each in (folders[0], folder)))
        if difference is not None:
            key, ours, theirs = difference
            raise ValueError(
                f"config.json: {key} is {ours} in {folders[0]} and {theirs} in {folder}; merge models of one kind."
            )
    return configs[0]


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """Return the first key that differs and matters, with both values."""
    ours, theirs = _without_notes(ours), _without_notes(theirs)
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            return key, ours.get(key), theirs.get(key)
    return None


def _without_notes(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_notes(child) for key, child in value.items() if key not in _NOTES}


def _as_transformers_reads_it(folder: Path) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
    except (ValueError, OSError):  # a model whose code is not in transformers
        return json.loads((folder / "config.json").read_text())


def check_tokenizers(folders: list[Path]) -> None:
    """Refuse models whose tokens do not mean the same.

    Args:
        folders: Of the models.

    Raises:
        ValueError: Naming the files.
    """
    vocabularies = [_vocabulary(folder) for folder in folders]
    ours = vocabularies[0]
    for name in _OLD_VOCABULARIES if None in vocabularies else ():
        files = [folder / name for folder in folders if (folder / name).is_file()]
        for file in files[1:]:
            if file.read_bytes() != files[0].read_bytes():
                raise ValueError(
                    f"the tokenizers differ: {name} is not the same in {files[0].parent} and {file.parent}; merge "
                    "models of one tokenizer."
                )
    for folder, theirs in zip(folders[1:], vocabularies[1:], strict=True):
        if ours is not None and theirs is not None and ours != theirs:
            token = min(token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token))
            raise ValueError(
                f"the tokenizers differ: token {token!r} has the id {ours.get(token)} in {folders[0]} and "
                f"{theirs.get(token)} in {folder}; merge models of one tokenizer."
            )


def _vocabulary(folder: Path) -> dict[str, int] | None:
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    known = content["model"]["vocab"]
    # Unigram models list tokens with their scores, in the order of their ids.
    tokens = dict(known) if isinstance(known, dict) else {token: number for number, (token, _) in enumerate(known)}
    return tokens | {added["content"]: added["id"] for added in content.get("added_tokens", [])}
