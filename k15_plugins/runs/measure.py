"""The stages that measure models: evaluation of several, and the choice of a checkpoint."""

import json
from pathlib import Path
from typing import Any

from datasets import Dataset

from k15_plugins.evaluation.figures import compare, details, summarize, table
from k15_plugins.long2short.selection import select
from k15_plugins.report.accuracy_tokens import draw_accuracy_tokens, point
from k15_plugins.report.history import METRICS
from k15_plugins.runs import folder
from k15_plugins.runs.collect import collect
from k15_plugins.runs.labels import say
from k15_plugins.runs.launch import is_first_rank
from k15_plugins.runs.resume import shown
from k15_plugins.runs.stages import build_problems, check_train, quiet
from k15_plugins.runs.vocabulary import build_model
from k15_plugins.samples import SampledProblem
from k15_plugins.trainers.checkpoint import check_checkpoint, checkpoints_in, is_half

SAMPLES = "samples"
EVALUATION = "evaluation.json"
ANSWERS = "answers.json"
SHOWN_ANSWERS = 6
HIGH_TRUNCATED_SHARE = 0.1
"""Above it a run tells that responses are cut off."""


def evaluate_models(
    config: dict[str, Any], run_dir: Path, models: dict[str, str], num_samples: int = 4, batch_size: int = 256
) -> None:
    """Measure models on the held-out problems and compare each with the first: the paper's Fig. 7 (3.4).

    Args:
        config (`dict[str, Any]`): The resolved config; its `model` node loads each model.
        run_dir (`Path`): The run's folder; takes the samples, `evaluation.json`, `answers.json` and the picture.
        models (`dict[str, str]`): Name to folder, or Hub name, of each model.
        num_samples (`int`): Responses to a problem.
        batch_size (`int`): Responses that are sampled at once.

    Raises:
        ValueError: If there are no held-out problems.
    """
    quiet()
    held_out = build_problems(config)[0].held_out
    if not len(held_out):
        raise ValueError("task.held_out leaves no problems to measure on; hold some out.")
    sampled = measure(config, run_dir, models, held_out, num_samples, batch_size)
    if is_first_rank():
        first = next(iter(sampled))
        summaries = write_evaluation(run_dir, sampled)
        draw_accuracy_tokens(summaries, run_dir / folder.PICTURES / "accuracy_tokens.png")
        write_figures(run_dir, summaries[first])


def select_checkpoint(
    config: dict[str, Any],
    run_dir: Path,
    run: str,
    accuracy_loss: float = 0.01,
    size: int = 256,
    num_samples: int = 4,
    batch_size: int = 256,
) -> None:
    """Choose the checkpoint of a run with the best balance of accuracy and tokens (paper 2.4, long2short RL).

    Among the checkpoints whose accuracy is within `accuracy_loss` of the best, the one with the fewest tokens.

    Args:
        config (`dict[str, Any]`): The resolved config.
        run_dir (`Path`): The run's folder; takes the samples, `evaluation.json`, the picture and the chosen model.
        run (`str`): Folder of the run whose checkpoints are measured.
        accuracy_loss (`float`): Accuracy that fewer tokens may cost.
        size (`int`): Training problems to measure on.
        num_samples (`int`): Responses to a problem.
        batch_size (`int`): Responses that are sampled at once.

    Raises:
        ValueError: If the run has no complete checkpoint.
    """
    quiet()
    steps = _complete_checkpoints(Path(run) / folder.CHECKPOINTS)
    if not steps:
        raise ValueError(f"stage.run={run} has no complete checkpoint to select from; give the folder of a run.")
    whole, _ = build_problems(config)
    check_train(config, whole)
    problems = whole.train.select(range(min(size, len(whole.train))))
    models = {f"update {step}": str(path) for step, path in steps.items()}
    sampled = measure(config, run_dir, models, problems, num_samples, batch_size)
    if is_first_rank():
        summaries = write_evaluation(run_dir, sampled)
        chosen = select([point(name, summary) for name, summary in summaries.items()], accuracy_loss)
        draw_accuracy_tokens(summaries, run_dir / folder.PICTURES / "accuracy_tokens.png", chosen=chosen.name)
        write_figures(run_dir, summaries[chosen.name])
        print(
            f"k15: {chosen.name} is selected: accuracy {chosen.accuracy:.3f}, {chosen.tokens:.1f} tokens", flush=True
        )
        model, tokenizer = build_model({**config["model"], "name": models[chosen.name]})
        model.save_pretrained(run_dir / folder.MODEL)
        tokenizer.save_pretrained(run_dir / folder.MODEL)


def measure(
    config: dict[str, Any], run_dir: Path, models: dict[str, str], problems: Dataset, num_samples: int, batch_size: int
) -> dict[str, list[SampledProblem]]:
    """Sample each of some models on the same problems; what was sampled before a kill is not sampled again.

    Args:
        config (`dict[str, Any]`): The resolved config; its `model` node loads each model.
        run_dir (`Path`): The run's folder; takes the samples.
        models (`dict[str, str]`): Name to folder, or Hub name, of each model.
        problems (`Dataset`): What to measure on.
        num_samples (`int`): Responses to a problem.
        batch_size (`int`): Responses that are sampled at once.

    Returns:
        `dict[str, list[SampledProblem]]`: The samples of each model.

    Raises:
        ValueError: If two names give one folder.
    """
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
            print(f"k15: model {name}: {path}", flush=True)
        model, tokenizer = build_model({**config["model"], "name": path}, problems)
        sampled[name] = collect(
            config, run_dir, run_dir / SAMPLES / folder_name, model, tokenizer, problems, num_samples, batch_size
        )
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


def write_evaluation(run_dir: Path, sampled: dict[str, list[SampledProblem]]) -> dict[str, Any]:
    """Write the figures of some models, their comparison with the first one, and some answers side by side.

    Args:
        run_dir (`Path`): Takes `evaluation.json`, `evaluation.md` and `answers.json`.
        sampled (`dict[str, list[SampledProblem]]`): The samples of each model.

    Returns:
        `dict[str, Any]`: The figures of each model, see `evaluation.figures.summarize`.
    """
    first, *others = sampled
    summaries = {name: summarize(problems) for name, problems in sampled.items()}
    comparisons = {name: compare(sampled[name], sampled[first]) for name in others}
    content = {"models": summaries, "compared_with_the_first": comparisons}
    (run_dir / EVALUATION).write_text(json.dumps(content, indent=1))
    tables = f"{table(summaries, comparisons)}\n\n{details(summaries)}\n"
    (run_dir / EVALUATION).with_suffix(".md").write_text(tables)
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
        print(f"{name}  right {of['accuracy']:.3f} [{low:.3f}, {high:.3f}]  tokens {of['tokens']:.1f}", flush=True)
    say(f"all figures, with comparisons: {shown((run_dir / EVALUATION).with_suffix('.md'))}")
    return summaries


def write_figures(run_dir: Path, summary: dict[str, Any]) -> None:
    """Write accuracy and tokens of a model as the figures of the run, which sweeps compare.

    Args:
        run_dir (`Path`): The run's folder.
        summary (`dict`): What `evaluation.figures.summarize` returned.
    """
    of = summary["all"]
    line = {
        "step": 0,
        "iteration": 0,
        "accuracy": of["accuracy"],
        "tokens": of["tokens"],
        "truncated": of["truncated"],
    }
    (run_dir / METRICS).write_text(json.dumps(line) + "\n")


def _complete_checkpoints(checkpoints: Path) -> dict[int, Path]:
    found = {step: path for step, path in checkpoints_in(checkpoints).items() if not is_half(path)}
    for path in found.values():
        check_checkpoint(path)
    return found
