"""Evaluation of several models on the held-out problems (paper 3.4)."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset

from k15_plugins.evaluation.codeforces_contests import Contest, rate, read_contests
from k15_plugins.processes import is_first_rank
from k15_plugins.report.accuracy_tokens import draw_accuracy_tokens
from k15_plugins.runs import folder
from k15_plugins.samples import SampledProblem
from k15_plugins.stages.collect import Sampling
from k15_plugins.stages.measure import measure, write_evaluation, write_figures
from k15_plugins.stages.problems import build_problems
from k15_plugins.stages.train import quiet
from k15_plugins.tasks.code_places import Place


def evaluate_models(
    config: dict[str, Any],
    run_dir: Path,
    models: dict[str, str] | None = None,
    num_samples: int = 4,
    batch_size: int = 256,
    standings: str | None = None,
) -> None:
    """Measure models on the held-out problems and compare each with the first: the paper's Fig. 7 (3.4).

    Args:
        config: The resolved config; its `model` node loads each model.
        run_dir: The run's folder; takes the samples, `evaluation.json`, `answers.json` and the picture.
        models: Name to folder, or Hub name, of each model; None for the model of the config.
        num_samples: Responses to a problem.
        batch_size: Responses that are sampled at once.
        standings: File of Codeforces contests, for rating and percentile, see `codeforces_contests.read_contests`.

    Raises:
        ValueError: If there are no held-out problems, or the contests are not those of the problems.
    """
    quiet()
    held_out = build_problems(config)[0].held_out
    if not len(held_out):
        raise ValueError("task.held_out leaves no problems to measure on; hold some out.")
    # Whatever is wrong with the contests is told before a model is loaded.
    ids = [] if standings is None else _ids(config, held_out)
    rating = None if standings is None else partial(_rating, read_contests(Path(standings), ids), ids)
    chosen: Mapping[str, str | None] = models or {_own_name(config): None}
    sampled = measure(Sampling(config, run_dir, held_out, num_samples, batch_size), chosen)
    if is_first_rank():
        first = next(iter(sampled))
        summaries = write_evaluation(run_dir, sampled, rating)
        draw_accuracy_tokens(summaries, run_dir / folder.PICTURES / "accuracy_tokens.png")
        write_figures(run_dir, summaries[first])


def _own_name(config: dict[str, Any]) -> str:
    return config["model"].get("name") or config["model"]["_target_"].rpartition(".")[2]


def _ids(config: dict[str, Any], problems: Dataset) -> list[str]:
    name = config["task"].get("name") or config["task"].get("schema")
    if name != "codeforces":
        raise ValueError(
            f"stage.standings must go with problems of codeforces, got those of {name}; take task=benchmark "
            "task.name=codeforces, or leave it out."
        )
    return [Place.load(text).id for text in problems["problem"]]


def _rating(contests: dict[str, Contest], ids: list[str], problems: list[SampledProblem]) -> dict[str, Any]:
    return rate(contests, {ids[each.problem]: [sample.right for sample in each.samples] for each in problems})
