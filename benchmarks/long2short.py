"""The short models against the long one: `python benchmarks/long2short.py [RECIPE]`.

RECIPE is `kimi_k15` (the embedded model from the shipped warm start, five seeds; the default) or `smollm2_long2short`
(SmolLM2-135M, merging and rejection sampling, one seed). Each seed is a run of the recipe in
`outputs/benchmarks/NAME/SEED`, which goes on where it was stopped; what is finished is not run again. Writes
`docs/results/NAME.md` and two pictures: accuracy against tokens (the paper's Fig. 7), and the curve of the merging
weights.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from k15_plugins.models import TINY
from k15_plugins.report.accuracy_tokens import draw_accuracy_tokens
from k15_plugins.runs.folder import read_status

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "outputs" / "benchmarks"
RESULTS = ROOT / "docs" / "results"
LONG = "long"
HEAD = ["model", "accuracy", "tokens", "accuracy, points to long", "tokens to long, %"]
HEAD += ["place here", "the paper's", "place in the paper"]
# What the paper reports for MATH500 (Fig. 7): accuracy and tokens, each against the long model.
PAPER = {
    "rl": (+0.5, -9),
    "dpo": (-2.5, -17),
    "merge_rejection": (-3.9, -32),
    "merge": (-4.9, -35),
    "rejection": (-5.9, -51),
}


@dataclass(frozen=True)
class Page:
    """What a recipe's page is called and says, and how the recipe is run.

    Attributes:
        name: Of the page, its pictures, and the folder of the runs.
        title: Of the page.
        about: What was measured, in a sentence or two.
        words: What is added to the command.
        seeds: Seeds by default.
    """

    name: str
    title: str
    about: str
    words: tuple[str, ...]
    seeds: tuple[int, ...]


PAGES = {
    "kimi_k15": Page(
        "long2short",
        "Long2short: the short models against the long one",
        "The embedded model, from the shipped warm start.",
        (f"+stage.given.warm_start={TINY}",),
        (0, 1, 2, 3, 4),
    ),
    "smollm2_long2short": Page(
        "smollm2_long2short",
        "Long2short on SmolLM2-135M-Instruct: merging and rejection sampling",
        "Sums and differences of two one-digit numbers. The long model is warmed up on traces of which half are wrong "
        "and 70 % are checked and then corrected, the short one on traces without checks.",
        (),
        (0,),
    ),
}


def run(recipe: str, seed: int) -> None:
    """Run the pipeline with a seed, or go on with it; it skips what is finished itself."""
    page = PAGES[recipe]
    folder = RUNS / page.name / str(seed)
    place = [f"resume={folder}"] if (folder / "config.yaml").exists() else [f"hydra.run.dir={folder}"]
    command = [sys.executable, str(ROOT / "recipes" / "run.py"), f"+recipe={recipe}", f"seed={seed}", *page.words]
    log = folder.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        ended = subprocess.run([*command, *place], stdout=output, stderr=output, env=env)
    print(f"seed {seed}: {'finished' if ended.returncode == 0 else f'failed, see {log}'}", flush=True)


def read(page: Page, step: str, seeds: list[int]) -> list[dict[str, Any]]:
    """Return what a step has measured with each seed (`evaluation.json`)."""
    return [json.loads((RUNS / page.name / str(seed) / step / "evaluation.json").read_text()) for seed in seeds]


def minutes(page: Page, seed: int) -> float:
    """Return what the steps of a seed took in all; of one that was stopped, the time since it went on."""
    steps = (RUNS / page.name / str(seed)).glob("*/step.json")
    return sum(read_status(step.parent)["seconds"] for step in steps if ".old" not in step.parent.name) / 60


def interval(values_S: np.ndarray) -> list[float]:
    """Return the 95 % t-interval of the mean over seeds."""
    half = stats.t.ppf(0.975, len(values_S) - 1) * stats.sem(values_S)
    return [float(values_S.mean() - half), float(values_S.mean() + half)]


def summaries(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the figures of each model as the picture takes them: means over seeds; of one seed, as they are."""
    if len(found) == 1:
        return found[0]["models"]
    means: dict[str, dict[str, Any]] = {}
    for name in found[0]["models"]:
        means[name] = {"all": {}}
        for key in ("accuracy", "tokens"):
            values_S = np.array([each["models"][name]["all"][key] for each in found])
            means[name]["all"] |= {key: float(values_S.mean()), f"{key}_interval": interval(values_S)}
    return means


def changes(found: list[dict[str, Any]], name: str) -> list[str]:
    """Return points of accuracy and percent of tokens against the long model, with intervals over seeds.

    Of one seed they are over problems.
    """
    of_long, of_model = ([each["models"][model]["all"] for each in found] for model in (LONG, name))
    if len(found) == 1:
        compared = found[0]["compared_with_the_first"][name]
        factors = {"accuracy": 100, "tokens": 100 / of_long[0]["tokens"]}
        parts = [
            [factor * value for value in (compared[key]["difference"], *compared[key]["interval"])]
            for key, factor in factors.items()
        ]
    else:
        pairs = list(zip(of_model, of_long, strict=True))
        points_S = np.array([100 * (ours["accuracy"] - long["accuracy"]) for ours, long in pairs])
        percent_S = np.array([100 * (ours["tokens"] / long["tokens"] - 1) for ours, long in pairs])
        parts = [[float(change_S.mean()), *interval(change_S)] for change_S in (points_S, percent_S)]
    return [f"{change:+.1f} [{low:+.1f}, {high:+.1f}]" for change, low, high in parts]


def places(accuracies: dict[str, float]) -> dict[str, int]:
    """Return the place of each method by its accuracy, 1 for the best."""
    ordered = sorted(accuracies, key=lambda name: -accuracies[name])
    return {name: ordered.index(name) + 1 for name in ordered}


def write(page: Page, recipe: str, seeds: list[int]) -> str:
    """Write the page and its pictures from what the runs have left, and return the page."""
    found, of_alphas = read(page, "evaluation", seeds), read(page, "merge", seeds)
    models, alphas = summaries(found), summaries(of_alphas)
    draw_accuracy_tokens(models, RESULTS / f"{page.name}.png")
    draw_accuracy_tokens(alphas, RESULTS / f"{page.name}_alphas.png", line=list(alphas))
    long = found[0]["models"][LONG]["all"]
    took = np.mean([minutes(page, seed) for seed in seeds])
    several = len(seeds) > 1
    which = f"mean over seeds {', '.join(map(str, seeds))}" if several else f"seed {seeds[0]}"
    kind = "of the same seed with their 95 % t-interval over seeds"
    kind = kind if several else "with their 95 % bootstrap interval over problems"
    methods = {name: models[name]["all"]["accuracy"] for name in models if name in PAPER}
    here, in_paper = places(methods), places({name: PAPER[name][0] for name in methods})
    rows = [
        f"# {page.title}",
        "",
        f"{page.about} {long['problems']} held-out problems, {long['samples']} responses each at temperature 1; "
        f"{which}, differences to the long model {kind}. Places order the methods by accuracy. The last columns are "
        f"the paper's differences on MATH500 and its places. Made by `python benchmarks/long2short.py {recipe}`; a "
        f"seed took {took:.0f} minutes on one core of a busy machine.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"|{'---|' * len(HEAD)}",
    ]
    for name, summary in models.items():
        of = summary["all"]
        cells = [
            f"{of['accuracy']:.3f}",
            f"{of['tokens']:.1f}",
            *(["-", "-"] if name == LONG else changes(found, name)),
        ]
        if name in methods:
            points, percent = PAPER[name]
            cells += [str(here[name]), f"{points:+.1f} points, {percent:+d} %", str(in_paper[name])]
        else:
            cells += ["-", "-", "-"]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    if several:
        rows += ["", "Every seed, accuracy / tokens:", "", f"| seed | {' | '.join(models)} |"]
        rows += [f"|{'---|' * (len(models) + 1)}"]
        for each, seed in zip(found, seeds, strict=True):
            cells = [_accuracy_tokens(each["models"][name], " / ") for name in models]
            rows.append(f"| {seed} | {' | '.join(cells)} |")
    rows += ["", f"![Accuracy against tokens]({page.name}.png)", "", "Merging: the weight of the long model.", ""]
    if not several:
        rows += ["| model | accuracy | tokens |", "|---|---|---|"]
        rows += [f"| {name} | {_accuracy_tokens(each, ' | ')} |" for name, each in alphas.items()] + [""]
    rows += [f"![The weight of the long model]({page.name}_alphas.png)"]
    text = "\n".join(rows) + "\n"
    (RESULTS / f"{page.name}.md").write_text(text)
    return text


def _accuracy_tokens(summary: dict[str, Any], between: str) -> str:
    return f"{summary['all']['accuracy']:.3f}{between}{summary['all']['tokens']:.1f}"


def main() -> None:
    """Run what is missing, then write table and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="kimi_k15", choices=PAGES)
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time (one core each)")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the recipe's own")
    options = parser.parse_args()
    page = PAGES[options.recipe]
    seeds = options.seeds or list(page.seeds)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda seed: run(options.recipe, seed), seeds))
    print(write(page, options.recipe, seeds))


if __name__ == "__main__":
    main()
