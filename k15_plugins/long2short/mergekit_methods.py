"""mergekit's other ways to merge models (TIES, DARE, SLERP ...), for comparison with the plain average (paper 2.4)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from k15_plugins.extras import optional_import
from k15_plugins.files.whole import whole_folder
from k15_plugins.long2short.merge import check_request

# Their weights are not those of an average: they multiply what each model adds to the base model.
_ADD_TO_THE_BASE = (
    "task_arithmetic", "ties", "dare_ties", "dare_linear", "breadcrumbs", "breadcrumbs_ties", "della", "della_linear",
)  # fmt: skip


def merge_with_mergekit(
    checkpoints: Sequence[str | Path],
    output_dir: str | Path,
    method: str,
    weights: Sequence[float] | None = None,
    base_model: str | Path | None = None,
    **parameters: Any,
) -> Path:
    """Merge models by a method of mergekit; the result is complete or not there.

    Args:
        checkpoints: Folders of models in transformers' form, two or more.
        output_dir: Folder of the result; must be new or empty.
        method: Name of mergekit's method, such as `"ties"`, `"dare_ties"` or `"slerp"`.
        weights: Weight of each model, equal by default; they sum to 1, but for methods
            that add to the base model (such as `"task_arithmetic"`).
        base_model: The model that the others come from, where the method needs one.
        **parameters: Parameters of the method, such as `density=0.5` or `t=0.5`.

    Returns:
        `output_dir`.

    Raises:
        ModuleNotFoundError: If mergekit is missing.
        ValueError: If the request is out of its range.
    """
    with optional_import():
        from mergekit.config import MergeConfiguration
        from mergekit.merge import MergeOptions, run_merge

    folders, output = [Path(checkpoint) for checkpoint in checkpoints], Path(output_dir)
    weights = check_request(folders, output, weights, sum_to_1=method not in _ADD_TO_THE_BASE)
    config = {
        "merge_method": method,
        "models": [
            {"model": str(folder.resolve()), "parameters": {"weight": weight}}
            for folder, weight in zip(folders, weights, strict=True)
        ],
        "parameters": parameters,
        "dtype": None,
    }
    if base_model is not None:
        config["base_model"] = str(Path(base_model).resolve())
    with whole_folder(output) as half:
        run_merge(MergeConfiguration.model_validate(config), str(half), MergeOptions(copy_tokenizer=True, quiet=True))
    return output
