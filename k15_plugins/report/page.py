"""The page of a run: report.html, one file with everything in it."""

import base64
import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import yaml

from k15_plugins.report.curves import draw_run
from k15_plugins.report.history import METRICS, ROLLOUTS, Line, last_figures, read_lines

_SUMMARY = {
    "reward": ("mean reward of a rollout", "{:.3f}"),
    "k15/accuracy": ("right answers, rollouts", "{:.3f}"),
    "eval_k15/accuracy": ("right answers, held-out problems", "{:.3f}"),
    "completions/mean_length": ("tokens of a response, rollouts", "{:.1f}"),
    "eval_completions/mean_length": ("tokens of a response, held-out problems", "{:.1f}"),
    "k15/rho_abs_mean": ("mean |ρ|, nats", "{:.3f}"),
    "k15/dead_groups": ("groups without a gradient", "{:.3f}"),
}
_TITLES = {
    "reward": "Reward",
    "accuracy": "Accuracy",
    "tokens": "Tokens",
    "rho": "Log-ratio ρ",
    "loss": "Loss",
    "success_map": "Success rates of the problems",
    "accuracy_tokens": "Accuracy against tokens",
    "alphas": "Weights of the first model",
}


def write_report(run_dir: str | Path, read: int = 4) -> Path:
    """Write `report.html` and its pictures (`report/*.png`) from what a run has recorded so far.

    Args:
        run_dir (`str` or `Path`): The run's folder.
        read (`int`): Number of best and of worst rollouts to show.

    Returns:
        `Path`: The page.

    Raises:
        ValueError: If the folder holds no run.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "config.yaml").is_file():
        raise ValueError(
            f"{run_dir} is not the folder of a run, for it has no config.yaml; give one that a run printed."
        )
    config_text = (run_dir / "config.yaml").read_text()
    metrics, rollouts = read_lines(run_dir / METRICS), read_lines(run_dir / ROLLOUTS)
    pictures = draw_run(metrics, rollouts, run_dir / "report", _penalty_from(yaml.safe_load(config_text)))
    pictures += sorted((run_dir / "pictures").glob("*.png"))
    template = files("k15_plugins.report").joinpath("page.html.jinja").read_text()
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    best, worst = pick_rollouts(rollouts, read)
    status = _read_json(run_dir / "status.json")
    html = page.render(
        name=run_dir.resolve().name,
        recipe=run_dir.resolve().parent.parent.name,
        status=status,
        began=f"{datetime.fromtimestamp(status['started'], UTC):%Y-%m-%d %H:%M UTC}" if "started" in status else "",
        took=str(timedelta(seconds=round(status["seconds"]))) if "seconds" in status else "",
        summary=_summary(metrics),
        pictures=[
            (_TITLES.get(path.stem, path.stem), base64.b64encode(path.read_bytes()).decode()) for path in pictures
        ],
        models=_models(_read_json(run_dir / "evaluation.json")),
        answers=_read_json(run_dir / "answers.json"),
        rollouts=[("Best", best), ("Worst", worst)] if rollouts else [],
        config=config_text,
        environment=json.dumps(_read_json(run_dir / "environment.json"), indent=1),
    )
    (run_dir / "report.html").write_text(html, encoding="utf-8")
    return run_dir / "report.html"


def pick_rollouts(rollouts: list[Line], number: int) -> tuple[list[Line], list[Line]]:
    """Choose rollouts to read: the best and the worst of the last quarter of the run, of different problems.

    Args:
        rollouts (`list[dict]`): Lines of rollouts.jsonl.
        number (`int`): How many of each.

    Returns:
        `tuple[list[dict], list[dict]]`: Best and worst by reward; of equals the longer ones, which have more to read.
    """
    last = max((line["iteration"] for line in rollouts), default=0)
    late = [line for line in rollouts if line["iteration"] >= last - last // 4]

    def choose(sign: int) -> list[Line]:
        first_of_problem: dict[Any, Line] = {}
        for line in sorted(late, key=lambda line: (sign * (line["reward"] or 0.0), -line["tokens"])):
            first_of_problem.setdefault(str(line["prompt"]), line)
        return list(first_of_problem.values())[:number]

    return choose(-1), choose(+1)


def _summary(metrics: list[Line]) -> list[tuple[str, str, str]]:
    """Return name, first and last value of the figures that matter."""
    first: dict[str, float] = last_figures(metrics[::-1])
    last = last_figures(metrics)
    shown = {key: text for key, text in _SUMMARY.items() if key in last}
    return [(title, form.format(first[key]), form.format(last[key])) for key, (title, form) in shown.items()]


def _models(evaluation: dict[str, Any]) -> list[dict[str, str]]:
    """Return a row of the table for each model that was evaluated."""
    compared = evaluation.get("compared_with_the_first", {})
    rows = []
    for name, summary in evaluation.get("models", {}).items():
        of = summary["all"]
        row = {
            "model": name,
            "accuracy": "{:.3f} [{:.3f}, {:.3f}]".format(of["accuracy"], *of["accuracy_interval"]),
            "tokens": "{:.1f} [{:.1f}, {:.1f}]".format(of["tokens"], *of["tokens_interval"]),
            "cut off": f"{of['truncated']:.3f}",
            "accuracy, difference to the first": "",
            "tokens, difference to the first": "",
        }
        for key, form in (("accuracy", "{:+.3f} [{:+.3f}, {:+.3f}]"), ("tokens", "{:+.1f} [{:+.1f}, {:+.1f}]")):
            if name in compared:
                change = compared[name][key]
                row[f"{key}, difference to the first"] = form.format(change["difference"], *change["interval"])
        rows.append(row)
    return rows


def _penalty_from(config: dict[str, Any]) -> int | None:
    args = config.get("trainer", {}).get("args", {})
    return args.get("length_penalty_warmup_iterations", 0) if args.get("length_penalty_weight", 0) > 0 else None


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}
