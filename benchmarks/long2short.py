"""The short models against the long one, five seeds: `python benchmarks/long2short.py`.

Each seed is a run of `+recipe=kimi_k15` from the shipped warm start, in `outputs/benchmarks/long2short/SEED`; what is
finished is not run again. Writes `docs/results/long2short.md` and two pictures: accuracy against tokens (the paper's
Fig. 7), and the curve of the merging weights.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from k15_plugins.report.accuracy_tokens import draw_accuracy_tokens
from k15_plugins.runs.folder import read_status
from k15_plugins.runs.models import TINY

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "outputs" / "benchmarks" / "long2short"
RESULTS = ROOT / "docs" / "results"
SEEDS = (0, 1, 2, 3, 4)
LONG = "long"
# What the paper reports for MATH500 (Fig. 7): accuracy and tokens, each against the long model.
PAPER = {
    "rl": (+0.5, -9),
    "dpo": (-2.5, -17),
    "merge_rejection": (-3.9, -32),
    "merge": (-4.9, -35),
    "rejection": (-5.9, -51),
}


def run(seed: int) -> None:
    """Run the pipeline with a seed, or go on with it."""
    folder = RUNS / str(seed)
    if (folder / "status.json").exists() and read_status(folder)["state"] == "finished":
        return
    place = [f"resume={folder}"] if (folder / "config.yaml").exists() else [f"hydra.run.dir={folder}"]
    given = [f"+stage.given.warm_start={TINY}"]
    command = [sys.executable, str(ROOT / "recipes" / "run.py"), "+recipe=kimi_k15", f"seed={seed}", *given, *place]
    log = RUNS / f"{seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        ended = subprocess.run(command, stdout=output, stderr=output, env=os.environ | {"OMP_NUM_THREADS": "1"})
    print(f"seed {seed}: {'finished' if ended.returncode == 0 else f'failed, see {log}'}", flush=True)


def read(step: str, seeds: list[int]) -> dict[str, np.ndarray]:
    """Return accuracy and tokens of each model that a step has measured (S seeds, 2)."""
    found = [json.loads((RUNS / str(seed) / step / "evaluation.json").read_text())["models"] for seed in seeds]
    return {
        name: np.array([[each[name]["all"][key] for key in ("accuracy", "tokens")] for each in found])
        for name in found[0]
    }


def interval(values_S: np.ndarray) -> list[float]:
    """Return the 95 % t-interval of the mean over seeds."""
    half = stats.t.ppf(0.975, len(values_S) - 1) * stats.sem(values_S) if len(values_S) > 1 else 0.0
    return [float(values_S.mean() - half), float(values_S.mean() + half)]


def as_summary(values_S2: np.ndarray) -> dict[str, Any]:
    """Return means over seeds in the form that the picture takes."""
    accuracy_S, tokens_S = values_S2.T
    return {
        "all": {
            "accuracy": float(accuracy_S.mean()),
            "accuracy_interval": interval(accuracy_S),
            "tokens": float(tokens_S.mean()),
            "tokens_interval": interval(tokens_S),
        }
    }


def main() -> None:
    """Run what is missing, then write table and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time (one core each)")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = parser.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, options.seeds))
    models, alphas = read("evaluation", options.seeds), read("merge", options.seeds)
    draw_accuracy_tokens({name: as_summary(each) for name, each in models.items()}, RESULTS / "long2short.png")
    draw_accuracy_tokens(
        {name: as_summary(each) for name, each in alphas.items()}, RESULTS / "long2short_alphas.png", line=list(alphas)
    )
    minutes = np.mean([read_status(RUNS / str(seed))["seconds"] / 60 for seed in options.seeds])
    rows = [
        "# Long2short: the short models against the long one",
        "",
        "Held-out problems, 4 responses each at temperature 1; mean over seeds "
        f"{', '.join(map(str, options.seeds))}, differences to the long model of the same seed with their 95 % "
        "t-interval over seeds. In the last column, the paper's differences on MATH500. Made by "
        f"`python benchmarks/long2short.py`; a seed took {minutes:.0f} minutes on one core, beside other work, "
        "without the warm start.",
        "",
        "| model | accuracy | tokens | accuracy, points to long | tokens to long, % | the paper's |",
        "|---|---|---|---|---|---|",
    ]
    long_S2 = models[LONG]
    for name, each_S2 in models.items():
        cells = [f"{each_S2[:, 0].mean():.3f}", f"{each_S2[:, 1].mean():.1f}"]
        if name == LONG:
            cells += ["-", "-", "-"]
        else:
            points_S = 100 * (each_S2[:, 0] - long_S2[:, 0])
            percent_S = 100 * (each_S2[:, 1] / long_S2[:, 1] - 1)
            for change_S in (points_S, percent_S):
                low, high = interval(change_S)
                cells.append(f"{change_S.mean():+.1f} [{low:+.1f}, {high:+.1f}]")
            cells.append(f"{PAPER[name][0]:+.1f} points, {PAPER[name][1]:+d} %")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    rows += [
        "",
        "Every seed, accuracy / tokens:",
        "",
        f"| seed | {' | '.join(models)} |",
        f"|{'---|' * (len(models) + 1)}",
    ]
    for place, seed in enumerate(options.seeds):
        cells = [f"{each[place, 0]:.3f} / {each[place, 1]:.1f}" for each in models.values()]
        rows.append(f"| {seed} | {' | '.join(cells)} |")
    rows += ["", "![Accuracy against tokens](long2short.png)", "", "Merging: the weight of the long model.", ""]
    rows += ["![The weight of the long model](long2short_alphas.png)"]
    (RESULTS / "long2short.md").write_text("\n".join(rows) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
