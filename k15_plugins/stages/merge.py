"""The stage of model merging (paper 2.4)."""

import math
from pathlib import Path
from typing import Any

from k15_plugins.long2short.merge import merge_checkpoints
from k15_plugins.long2short.mergekit_methods import merge_with_mergekit
from k15_plugins.processes import is_first_rank, processes
from k15_plugins.report.accuracy_tokens import draw_accuracy_tokens
from k15_plugins.runs import folder
from k15_plugins.runs.devices import set_up_devices
from k15_plugins.stages.collect import Sampling
from k15_plugins.stages.measure import measure, write_evaluation, write_figures
from k15_plugins.stages.problems import build_problems
from k15_plugins.stages.train import quiet


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
        config: The resolved config.
        run_dir: The run's folder; takes the model and the curve.
        checkpoints: Folders of models, two or more.
        weights: Weight of each model; equal by default.
        mergekit: Arguments of `merge_with_mergekit`, of which `method` is one, to
            merge by another method than the average.
        alphas: Weights of the first of two models to be measured on the held-out problems,
            beside the result itself.
        num_samples: Responses to a problem when measuring.
        batch_size: Responses that are sampled at once.

    Raises:
        ValueError: If the models do not fit together, or a sweep is asked for more than two.
    """
    quiet()
    if alphas is not None and len(checkpoints) != 2:
        raise ValueError(
            f"stage.alphas sweeps between two checkpoints, and there are {len(checkpoints)}; leave it at null."
        )
    set_up_devices()
    model = run_dir / folder.MODEL
    if is_first_rank() and not model.exists():
        if mergekit is None:
            merge_checkpoints(checkpoints, model, weights)
        else:
            merge_with_mergekit(checkpoints, model, weights=weights, **mergekit)
    if alphas is None:
        return
    # The model itself is one of the sweep, or, made by another method, stands beside it.
    own = (weights or [0.5])[0] if mergekit is None else math.nan
    models = {}
    for alpha in alphas if mergekit else sorted({*alphas, own}):
        place = model if alpha == own else run_dir / "alphas" / f"{alpha:g}"
        if is_first_rank() and not place.exists():
            place.parent.mkdir(exist_ok=True)
            merge_checkpoints(checkpoints, place, [alpha, 1 - alpha])
        models[f"alpha {alpha:g}"] = str(place)
    line = list(models)
    merged = f"alpha {own:g}" if mergekit is None else mergekit["method"]
    models[merged] = str(model)
    processes().wait_for_everyone()
    held_out = build_problems(config)[0].held_out
    sampled = measure(Sampling(config, run_dir, held_out, num_samples, batch_size), models)
    if is_first_rank():
        summaries = write_evaluation(run_dir, sampled)
        draw_accuracy_tokens(summaries, run_dir / folder.PICTURES / "alphas.png", chosen=merged, line=line)
        write_figures(run_dir, summaries[merged])
