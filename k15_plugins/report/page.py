"""The page of a run: report.html, one file with everything in it."""

import base64
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import jinja2
import yaml

from k15_plugins.files.jsonl import Line, read_lines
from k15_plugins.report.answers import answers_over_time
from k15_plugins.report.curves import draw_run
from k15_plugins.report.describe import recipe_of, what_was_done
from k15_plugins.report.history import HELD_OUT, METRICS, ROLLOUTS, curve

_SUMMARY = {
    "reward": ("mean reward of a rollout", "{:.3f}"),
    "k15/accuracy": ("right answers, rollouts", "{:.3f}"),
    "eval_k15/accuracy": ("right answers, held-out problems", "{:.3f}"),
    "completions/mean_length": ("tokens of a response, rollouts", "{:.1f}"),
    "eval_completions/mean_length": ("tokens of a response, held-out problems", "{:.1f}"),
    "k15/rho_abs_mean": ("mean |ρ| of an iteration, nats", "{:.3f}"),
    "k15/dead_groups": ("groups without a gradient", "{:.3f}"),
    "loss": ("training loss", "{:.4f}"),
}
_FIGURES = {
    "reward": (
        "Reward",
        "What the policy is trained to raise: the weighted sum of all rewards, averaged over the rollouts of an "
        "iteration. When the length reward sets in, the total changes its meaning; compare accuracy instead.",
    ),
    "accuracy": (
        "Accuracy",
        "Share of right final answers. Rollouts are of the problems that the sampler chose, so a sampler that prefers "
        "hard problems keeps that curve low; the held-out problems are always the same.",
    ),
    "tokens": (
        "Tokens",
        "Mean length of a response. It grows while longer thinking pays, and falls when the length reward sets in.",
    ),
    "rho": (
        "Log-ratio ρ",
        "How far the updates of an iteration move the policy from the one that wrote the rollouts: log-probability of "
        "a whole response now, less that at the iteration's start, averaged over the updates (the first has 0). Some "
        "tenths of a nat are usual; several nats mean steps that are too large: lower the learning rate or raise tau.",
    ),
    "loss": ("Loss", "The training loss, averaged within an iteration."),
    "success_map": (
        "Success rates of the problems",
        "A row is a problem, from the easiest level at the top to the hardest at the bottom; its colour is the share "
        "of right rollouts when it was last drawn. A row is grey until the problem is drawn for the first time, and "
        "turns from dark to bright when the model learns to solve it. The number under a level counts its problems.",
    ),
    "accuracy_tokens": (
        "Accuracy against tokens",
        "A point is a model, measured on the held-out problems: higher is more accurate, further left is shorter.",
    ),
    "funnel": (
        "What became of the problems",
        "Left: how many problems are left after each step; a mark, where tests are written, shows the share that was "
        "left in the paper (1,000 problems, 614, 463, 323). Right: why the others were dropped; dropped.jsonl tells "
        "of each.",
    ),
    "alphas": (
        "Weights of the first model",
        "A point is a merge of two models; the number beside it is the weight of the first one.",
    ),
}


def write_report(run_dir: str | Path, read: int = 4) -> Path:
    """Write `report.html` and its pictures (`report/*.png`) from what a run has recorded so far.

    Args:
        run_dir: The run's folder.
        read: Number of best and of worst rollouts to show.

    Returns:
        The page.

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
    config = yaml.safe_load(config_text)
    penalty_from = _penalty_from(config)
    pictures = draw_run(metrics, rollouts, run_dir / "report", penalty_from)
    pictures += sorted((run_dir / "pictures").glob("*.png"))
    template = files("k15_plugins.report").joinpath("page.html.jinja").read_text()
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    best, worst = pick_rollouts(rollouts, read)
    status = _read_json(run_dir / "status.json")
    html = page.render(
        name=run_dir.resolve().name,
        recipe=recipe_of(run_dir),
        sentence=what_was_done(config, run_dir),
        status=status,
        began=f"{datetime.fromtimestamp(status['started'], UTC):%Y-%m-%d %H:%M UTC}" if "started" in status else "",
        took=str(timedelta(seconds=round(status["seconds"]))) if "seconds" in status else "",
        speed=_speed(metrics, rollouts),
        summary=_summary(metrics),
        pictures=[
            (*_FIGURES.get(path.stem, (path.stem, "")), base64.b64encode(path.read_bytes()).decode())
            for path in pictures
        ],
        models=_models(_read_json(run_dir / "evaluation.json")),
        answers=_read_json(run_dir / "answers.json"),
        over_time=answers_over_time(read_lines(run_dir / HELD_OUT), number=6, penalty_from=penalty_from),
        rollouts=[("Best", best), ("Worst", worst)] if rollouts else [],
        config=config_text,
        environment=json.dumps(_read_json(run_dir / "environment.json"), indent=1),
    )
    (run_dir / "report.html").write_text(html, encoding="utf-8")
    return run_dir / "report.html"


def pick_rollouts(rollouts: list[Line], number: int) -> tuple[list[Line], list[Line]]:
    """Choose rollouts to read: the best and the worst of the last iteration, of different problems.

    Args:
        rollouts: Lines of rollouts.jsonl.
        number: How many of each.

    Returns:
        Best and worst by reward; of equals those of the most usual length.
    """
    last = max((line["iteration"] for line in rollouts), default=0)
    late = [line for line in rollouts if line["iteration"] == last]
    usual = median(line["tokens"] for line in late) if late else 0

    def choose(sign: int) -> list[Line]:
        first_of_problem: dict[Any, Line] = {}
        for line in sorted(late, key=lambda line: (sign * (line["reward"] or 0.0), abs(line["tokens"] - usual))):
            first_of_problem.setdefault(str(line["prompt"]), line)
        return list(first_of_problem.values())[:number]

    return choose(-1), choose(+1)


def _summary(metrics: list[Line]) -> list[tuple[str, str, str]]:
    """Return name, first and last value of the figures that matter, as the curves show them."""
    curves = {key: curve(metrics, key)[1] for key in _SUMMARY}
    return [
        (title, form.format(curves[key][0]), form.format(curves[key][-1]))
        for key, (title, form) in _SUMMARY.items()
        if len(curves[key]) and (key != "loss" or not len(curves["reward"]))
    ]


def _speed(metrics: list[Line], rollouts: list[Line]) -> str:
    """Say how fast a run was, from the time between its iterations, evaluations left out."""
    if not rollouts:
        return ""
    ends = {line["iteration"]: line["seconds"] for line in metrics}
    pauses: dict[int, float] = defaultdict(float)
    for before, line in pairwise(metrics):
        if any(key.startswith("eval_") for key in line):
            pauses[line["iteration"]] += line["seconds"] - before["seconds"]
    spans = [ends[now] - ends[now - 1] - pauses[now] for now in ends if now - 1 in ends]
    tokens: dict[int, int] = defaultdict(int)
    for line in rollouts:
        tokens[line["iteration"]] += line["tokens"]
    if not spans or not tokens:
        return ""
    seconds, number = median(spans), len(rollouts) / len(tokens)
    return (
        f"{seconds:.1f} s an iteration (median of {len(spans)}, without evaluations): {number / seconds:.1f} rollouts "
        f"and {sum(tokens.values()) / len(tokens) / seconds:.0f} response tokens a second, generated and trained on."
    )


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
            **_rating(summary.get("codeforces")),
            "accuracy, difference to the first": "",
            "tokens, difference to the first": "",
        }
        for key, form in (("accuracy", "{:+.3f} [{:+.3f}, {:+.3f}]"), ("tokens", "{:+.1f} [{:+.1f}, {:+.1f}]")):
            if name in compared:
                change = compared[name][key]
                row[f"{key}, difference to the first"] = form.format(change["difference"], *change["interval"])
        rows.append(row)
    return rows


def _rating(codeforces: dict[str, Any] | None) -> dict[str, str]:
    if codeforces is None:
        return {}
    rating = "{:.0f} [{:.0f}, {:.0f}]".format(codeforces["rating"], *codeforces["rating_interval"])
    return {"Codeforces rating": rating, "percentile": f"{codeforces['percentile']:.1f}"}


def _penalty_from(config: dict[str, Any]) -> int | None:
    args = config.get("trainer", {}).get("args", {})
    return args.get("length_penalty_warmup_iterations", 0) if args.get("length_penalty_weight", 0) > 0 else None


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}
