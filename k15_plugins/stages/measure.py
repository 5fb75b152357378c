"""Several models measured on the same problems: samples, figures, comparisons, answers side by side."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from k15_plugins.evaluation import codeforces_contests
from k15_plugins.evaluation.statistics import compare, details, summarize, table
from k15_plugins.processes import is_first_rank
from k15_plugins.report.history import METRICS
from k15_plugins.runs.labels import say
from k15_plugins.runs.resume import shown
from k15_plugins.runs.vocabulary import build_model
from k15_plugins.samples import SampledProblem
from k15_plugins.stages.collect import Sampling, collect

SAMPLES = "samples"
EVALUATION = "evaluation.json"
ANSWERS = "answers.json"
SHOWN_ANSWERS = 6
HIGH_TRUNCATED_SHARE = 0.1
"""Above it a run tells that responses are cut off."""


def measure(sampling: Sampling, models: Mapping[str, str | None]) -> dict[str, list[SampledProblem]]:
    """Sample each of some models on the same problems; what was sampled before a kill is not sampled again.

    Args:
        sampling: What to sample, and how; the config's `model` node loads each model.
        models: Name to folder, or Hub name, of each model; None for the model that the config's node loads itself.

    Returns:
        The samples of each model.

    Raises:
        ValueError: If two names give one folder.
    """
    config = sampling.config
    folders: dict[str, str] = {}
    for name in models:
        other = folders.setdefault(name.replace("/", "_"), name)
        if other != name:
            raise ValueError(
                f"stage.models: {other!r} and {name!r} would share the folder {SAMPLES}/{name.replace('/', '_')}; "
                "rename one of them."
            )
    sampled = {}
    for folder_name, name in folders.items():
        path = models[name]
        if is_first_rank():
            print(f"k15: model {name}" + ("" if path is None else f": {path}"), flush=True)
        node = config["model"] if path is None else {**config["model"], "name": path}
        model, tokenizer = build_model(node, sampling.problems)
        sampled[name] = collect(sampling, model, tokenizer, sampling.run_dir / SAMPLES / folder_name)
        if is_first_rank():
            _tell_of_truncated(name, sampled[name], config["trainer"]["args"].get("max_completion_length"))
    return sampled


def _tell_of_truncated(name: str, problems: list[SampledProblem], limit: int | None) -> None:
    samples = [sample for problem in problems for sample in problem.samples]
    share = sum(sample.truncated for sample in samples) / max(1, len(samples))
    if share > HIGH_TRUNCATED_SHARE:
        print(
            f"k15: {100 * share:.0f} % of the responses of {name} are cut off at trainer.args.max_completion_length="
            f"{limit} tokens; raise it, or its accuracy says little.",
            flush=True,
        )


def write_evaluation(
    run_dir: Path,
    sampled: dict[str, list[SampledProblem]],
    rating: Callable[[list[SampledProblem]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write the figures of some models, their comparison with the first one, and some answers side by side.

    Args:
        run_dir: Takes `evaluation.json`, `evaluation.md` and `answers.json`.
        sampled: The samples of each model.
        rating: Gives a model's Codeforces rating from its samples, see `codeforces_contests.rate`.

    Returns:
        The figures of each model, see `evaluation.statistics.summarize`; with a rating, `codeforces` too.
    """
    first, *others = sampled
    summaries = {name: summarize(problems) for name, problems in sampled.items()}
    rated = {} if rating is None else {name: rating(problems) for name, problems in sampled.items()}
    for name, of_model in rated.items():
        summaries[name]["codeforces"] = of_model
    comparisons = {name: compare(sampled[name], sampled[first]) for name in others}
    content = {"models": summaries, "compared_with_the_first": comparisons}
    (run_dir / EVALUATION).write_text(json.dumps(content, indent=1))
    tables = [
        table(summaries, comparisons),
        details(summaries),
        *([codeforces_contests.table(rated)] if rated else []),
    ]
    (run_dir / EVALUATION).with_suffix(".md").write_text("\n\n".join(tables) + "\n")
    # Problems from the whole range, the same ones for every model, each with its first response.
    places = range(0, len(sampled[first]), max(1, len(sampled[first]) // SHOWN_ANSWERS))
    answers = [
        {
            "prompt": sampled[first][place].prompt,
            "answers": {
                name: {"response": one.response, "right": one.right, "tokens": one.tokens}
                for name, one in ((name, problems[place].samples[0]) for name, problems in sampled.items())
            },
        }
        for place in list(places)[:SHOWN_ANSWERS]
    ]
    (run_dir / ANSWERS).write_text(json.dumps(answers, indent=1, ensure_ascii=False))
    for name, summary in summaries.items():
        of, (low, high) = summary["all"], summary["all"]["accuracy_interval"]
        shown_rating = (
            f"  rating {rated[name]['rating']:.0f}  percentile {rated[name]['percentile']:.1f}"
            if name in rated
            else ""
        )
        print(
            f"{name}  right {of['accuracy']:.3f} [{low:.3f}, {high:.3f}]  tokens {of['tokens']:.1f}{shown_rating}",
            flush=True,
        )
    say(f"all figures, with comparisons: {shown((run_dir / EVALUATION).with_suffix('.md'))}")
    return summaries


def write_figures(run_dir: Path, summary: dict[str, Any]) -> None:
    """Write accuracy and tokens of a model as the figures of the run, which sweeps compare.

    Args:
        run_dir: The run's folder.
        summary: What `write_evaluation` returned of it.
    """
    of, codeforces = summary["all"], summary.get("codeforces", {})
    line = {
        "step": 0,
        "iteration": 0,
        "accuracy": of["accuracy"],
        "tokens": of["tokens"],
        "truncated": of["truncated"],
        **{key: codeforces[key] for key in ("rating", "percentile") if key in codeforces},
    }
    (run_dir / METRICS).write_text(json.dumps(line) + "\n")
