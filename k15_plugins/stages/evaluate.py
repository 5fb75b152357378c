"""Evaluation of several models on the held-out problems (paper 3.4)."""

from pathlib import Path
from typing import Any

from k15_plugins.processes import is_first_rank
from k15_plugins.report.accuracy_tokens import draw_accuracy_tokens
from k15_plugins.runs import folder
from k15_plugins.stages.collect import Sampling
from k15_plugins.stages.measure import measure, write_evaluation, write_figures
from k15_plugins.stages.problems import build_problems
from k15_plugins.stages.train import quiet


def evaluate_models(
    config: dict[str, Any], run_dir: Path, models: dict[str, str], num_samples: int = 4, batch_size: int = 256
) -> None:
    """Measure models on the held-out problems and compare each with the first: the paper's Fig. 7 (3.4).

    Args:
        config: The resolved config; its `model` node loads each model.
        run_dir: The run's folder; takes the samples, `evaluation.json`, `answers.json` and the picture.
        models: Name to folder, or Hub name, of each model.
        num_samples: Responses to a problem.
        batch_size: Responses that are sampled at once.

    Raises:
        ValueError: If there are no held-out problems.
    """
    quiet()
    held_out = build_problems(config)[0].held_out
    if not len(held_out):
        raise ValueError("task.held_out leaves no problems to measure on; hold some out.")
    sampled = measure(Sampling(config, run_dir, held_out, num_samples, batch_size), models)
    if is_first_rank():
        first = next(iter(sampled))
        summaries = write_evaluation(run_dir, sampled)
        draw_accuracy_tokens(summaries, run_dir / folder.PICTURES / "accuracy_tokens.png")
        write_figures(run_dir, summaries[first])
