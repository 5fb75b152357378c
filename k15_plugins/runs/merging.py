"""The stage of model merging (paper 2.4)."""

from pathlib import Path
from typing import Any

from accelerate import PartialState

from k15_plugins.long2short.merge import merge_checkpoints
from k15_plugins.long2short.mergekit_methods import merge_with_mergekit
from k15_plugins.report.accuracy_tokens import draw_accuracy_tokens
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import set_up_devices
from k15_plugins.runs.measure import measure, write_evaluation, write_figures
from k15_plugins.runs.stages import quiet


def merge(
    config: dict[str, Any],
    run_dir: Path,
    checkpoints: list[str],
    weights: list[float] | None = None,
    mergekit: dict[str, Any] | None = None,
    alphas: list[float] | None = None,
    num_samples: int = 4,
    batch_size: int = 256,
) -> None:
    """Average the weights of models, and show what other weights of the first would give.

    Args:
        config (`dict[str, Any]`): The resolved config.
        run_dir (`Path`): The run's folder; takes the model and the curve.
        checkpoints (`list[str]`): Folders of models, two or more.
        weights (`list[float]`, *optional*): Weight of each model; equal by default.
        mergekit (`dict[str, Any]`, *optional*): Arguments of `merge_with_mergekit`, of which `method` is one, to
            merge by another method than the average.
        alphas (`list[float]`, *optional*): Weights of the first of two models to be measured on the held-out problems.
        num_samples (`int`): Responses to a problem when measuring.
        batch_size (`int`): Responses that are sampled at once.

    Raises:
        ValueError: If the models do not fit together, or a sweep is asked for more than two.
    """
    quiet()
    if alphas is not None and len(checkpoints) != 2:
        raise ValueError(
            f"stage.alphas sweeps between two checkpoints, and there are {len(checkpoints)}; leave it at null."
        )
    set_up_devices()
    state = PartialState()
    if state.is_main_process and not (run_dir / folder.MODEL).exists():
        if mergekit is None:
            merge_checkpoints(checkpoints, run_dir / folder.MODEL, weights)
        else:
            merge_with_mergekit(checkpoints, run_dir / folder.MODEL, weights=weights, **mergekit)
    if alphas is None:
        return
    models = {}
    for alpha in alphas:
        place = run_dir / "alphas" / f"{alpha:g}"
        if state.is_main_process and not place.exists():
            place.parent.mkdir(exist_ok=True)
            merge_checkpoints(checkpoints, place, [alpha, 1 - alpha])
        models[f"alpha {alpha:g}"] = str(place)
    state.wait_for_everyone()
    held_out = build(config["task"]).held_out
    sampled = measure(config, run_dir, models, held_out, num_samples, batch_size)
    if state.is_main_process:
        summaries = write_evaluation(run_dir, sampled)
        merged = (weights or [0.5])[0]
        nearest = f"alpha {min(alphas, key=lambda alpha: abs(alpha - merged)):g}"
        draw_accuracy_tokens(summaries, run_dir / folder.PICTURES / "alphas.png", chosen=nearest, line=True)
        write_figures(run_dir, summaries[nearest])
