"""Learning curves of the recipe against its alternatives, five seeds each: `python benchmarks/learning.py FIGURE`.

A figure is a set of arms, each the recipe with some values changed. Every run is a job of its own in
`outputs/benchmarks/ARM/SEED`; a finished one is not run again, so figures share their arms, and a stopped benchmark
goes on. Writes `docs/results/FIGURE.md` and `.png`. `python benchmarks/learning.py --list` names the figures.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from k15_plugins.files.jsonl import Line, read_lines
from k15_plugins.report.curves import COLOURS, DASHES
from k15_plugins.report.history import METRICS, curve
from k15_plugins.runs.folder import read_status

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "outputs" / "benchmarks"
RESULTS = ROOT / "docs" / "results"
SEEDS = (1, 2, 3, 4, 5)
ACCURACY = "eval_k15/accuracy"
TOKENS = "eval_completions/mean_length"

# 20 iterations without the length reward, so that an arm differs from another in one thing only.
SHORT = ["trainer.args.max_steps=80", "trainer.args.eval_steps=40", "trainer.args.save_steps=80"]
NO_PENALTY = ["trainer.args.length_penalty_weight=0", "trainer.args.length_penalty_warmup_iterations=0"]
KIMI = ["+recipe=kimi_rl", "sampler=uniform", *NO_PENALTY, *SHORT]
GRPO = ["+recipe=grpo", *SHORT]
ARMS = {
    # 10 iterations longer than the recipe, to see what happens then.
    "kimi_rl": ["+recipe=kimi_rl", "trainer.args.max_steps=200"],
    "no_length_penalty": [
        "+recipe=kimi_rl",
        "trainer.args.max_steps=200",
        *NO_PENALTY,
    ],
    "mirror_descent": KIMI,
    "rest": [*KIMI, "+trainer.args.positives_only=true", "~trainer.args.tau"],
    "grpo": [*GRPO, "trainer.args.learning_rate=1e-6"],
    "grpo_lr_5e-5": [*GRPO, "trainer.args.learning_rate=5e-5"],
    "grpo_lr_1e-4": [*GRPO, "trainer.args.learning_rate=1e-4"],
    "grpo_lr_2e-4": [*GRPO, "trainer.args.learning_rate=2e-4"],
    "grpo_lr_4e-4": [*GRPO, "trainer.args.learning_rate=4e-4"],
    "curriculum": [*KIMI, "sampler=curriculum", "sampler.schedule.switch_iteration=8"],
    "uniform_200": [*KIMI, "task.train_size=200"],
    "prioritized_200": [*KIMI, "task.train_size=200", "sampler=prioritized"],
    "no_reset": [*KIMI, "+trainer.args.reset_optimizer=false"],
    "tau_0.03": [*KIMI, "trainer.args.tau=0.03"],
    "tau_3": [*KIMI, "trainer.args.tau=3"],
    # A response of the mean length takes two iterations.
    "partial": [*KIMI, "+trainer.args.rollout_budget_tokens=24"],
    "megatron": [*KIMI, "backend=megatron", "backend.processes=2", "backend.tensor_parallel=2"],
}
FIGURES = {
    "kimi_rl": ("The whole recipe: accuracy, then the length penalty", ["kimi_rl", "no_length_penalty"]),
    "methods": (
        "Mirror descent, ReST (Fig. 10 in miniature) and stock GRPO at its default and at the recipe's learning rate",
        ["mirror_descent", "rest", "grpo", "grpo_lr_2e-4"],
    ),
    "grpo_lr": (
        "Stock GRPO's learning rate",
        ["grpo_lr_5e-5", "grpo_lr_1e-4", "grpo_lr_2e-4", "grpo_lr_4e-4"],
    ),
    "curriculum": (
        "Curriculum (uniform, then hard only from iteration 8) against uniform (Fig. 9)",
        ["mirror_descent", "curriculum"],
    ),
    "prioritized": (
        "Prioritized against uniform sampling, from 200 problems, so that each comes up more than once",
        ["uniform_200", "prioritized_200"],
    ),
    "optimizer_reset": ("Optimizer reset in every iteration, on and off", ["mirror_descent", "no_reset"]),
    "tau": (
        "The relative-entropy term: tau 0.3 (mirror_descent), 0.03 and 3",
        ["mirror_descent", "tau_0.03", "tau_3"],
    ),
    "partial_rollouts": (
        "Partial rollouts, 24 tokens a trajectory and iteration, against whole ones",
        ["mirror_descent", "partial"],
    ),
    "megatron": (
        "Megatron-core with tensor parallelism on two ranks against accelerate (mirror_descent)",
        ["mirror_descent", "megatron"],
    ),
}


def main() -> None:
    """Run what is missing of a figure, then draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", nargs="*", choices=[*FIGURES, []], help="default: all")
    parser.add_argument("--list", action="store_true", help="name the figures")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time (one core each)")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name}: {title}" for name, (title, _) in FIGURES.items()))
        return
    figures = options.figure or list(FIGURES)
    arms = dict.fromkeys(arm for figure in figures for arm in FIGURES[figure][1])
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda job: run(*job), [(arm, seed) for arm in arms for seed in options.seeds]))
    for figure in figures:
        write_figure(figure, options.seeds)


def run(arm: str, seed: int) -> None:
    """Run an arm with a seed, or go on with it, unless it is finished."""
    folder = RUNS / arm / str(seed)
    if (folder / "status.json").exists() and read_status(folder)["state"] == "finished":
        return
    place = [f"resume={folder}"] if (folder / "config.yaml").exists() else [f"hydra.run.dir={folder}"]
    command = [sys.executable, str(ROOT / "recipes" / "run.py"), *ARMS[arm], f"seed={seed}", *place]
    log = RUNS / arm / f"{seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        ended = subprocess.run(command, stdout=output, stderr=output, env=os.environ | {"OMP_NUM_THREADS": "1"})
    print(f"{arm} seed {seed}: {'finished' if ended.returncode == 0 else f'failed, see {log}'}", flush=True)


def read(arm: str, seeds: list[int]) -> list[list[Line]]:
    """Read the metrics of an arm's runs."""
    return [read_lines(RUNS / arm / str(seed) / METRICS) for seed in seeds]


def write_figure(figure: str, seeds: list[int]) -> None:
    """Write the table and the picture of a figure."""
    title, arms = FIGURES[figure]
    runs = {arm: read(arm, seeds) for arm in arms}
    RESULTS.mkdir(parents=True, exist_ok=True)
    draw(runs, RESULTS / f"{figure}.png")
    curves = {arm: [curve(lines, ACCURACY) for lines in runs[arm]] for arm in arms}
    places = [place for place in curves[arms[0]][0][0] if place > 0]
    shown = places if len(places) <= 5 else places[1::2]
    rows = [
        f"# {title}",
        "",
        f"Held-out accuracy at temperature 1 on 512 problems: mean ± standard deviation over seeds "
        f"{', '.join(map(str, seeds))}. Numbered columns are iterations; brackets are 95 % intervals of the "
        f"difference over the same seeds. Made by `python benchmarks/learning.py {figure}`. "
        "Seconds depend on what else ran on the machine.",
        "",
        f"| arm | start | {' | '.join(f'{place:g}' for place in shown)} | tokens at the end | seconds | difference to "
        f"{arms[0]} at the end |",
        f"|---|---|{'---|' * (len(shown) + 3)}",
    ]
    for arm in arms:
        at = [[float(y[x == place][0]) for x, y in curves[arm]] for place in [0.0, *shown]]
        tokens = [curve(lines, TOKENS)[1][-1] for lines in runs[arm]]
        seconds = [lines[-1]["seconds"] - lines[0]["seconds"] for lines in runs[arm]]
        rows.append(
            f"| {arm} | {' | '.join(_mean(values) for values in at)} | {np.mean(tokens):.1f} | {np.mean(seconds):.0f} "
            f"| {_difference(curves[arm], curves[arms[0]]) if arm != arms[0] else '-'} |"
        )
    if figure == "kimi_rl":
        rows += ["", *seed_table(runs["kimi_rl"], seeds)]
    if figure == "partial_rollouts":
        rows += ["", *fill_table(runs["partial"])]
    rows += ["", f"![{title}]({figure}.png)", "", "The arms, as commands:", ""]
    rows += [f"- `{arm}`: `python recipes/run.py {' '.join(ARMS[arm])} seed=...`" for arm in arms]
    (RESULTS / f"{figure}.md").write_text("\n".join(rows) + "\n")
    print("\n".join(rows))


def seed_table(runs: list[list[Line]], seeds: list[int]) -> list[str]:
    """Write a run of the whole recipe a row: before training, when the length reward sets in, and at the end."""
    rows = [
        "| seed | accuracy | | | | tokens | | | |",
        "|---|---|---|---|---|---|---|---|---|",
        "| | start | 30 | 40 | 50 | start | 30 | 40 | 50 |",
    ]
    for seed, lines in zip(seeds, runs, strict=True):
        cells = [f"{curve(lines, key)[1][place]:.{digits}f}" for key, digits in ((ACCURACY, 3), (TOKENS, 1))
                 for place in (0, 3, 4, 5)]  # fmt: skip
        rows.append(f"| {seed} | {' | '.join(cells)} |")
    return rows


def fill_table(runs: list[list[Line]]) -> list[str]:
    """Write how much of its batch an iteration of partial rollouts trains on: only groups that are finished count."""
    fills = np.array([curve(lines, "rollouts/batch_fill")[1] for lines in runs])
    parts = np.array_split(np.arange(fills.shape[1]), 4)
    names = [f"{part[0] + 1}-{part[-1] + 1}" for part in parts]
    return [
        "How full the batches of `partial` are (mean over the seeds). The batches of the other arm are always full, "
        "so at the same iteration it has trained on more rollouts:",
        "",
        f"| iterations | {' | '.join(names)} | all |",
        f"|---|{'---|' * (len(parts) + 1)}",
        f"| batch fill | {' | '.join(f'{fills[:, part].mean():.2f}' for part in parts)} | {fills.mean():.2f} |",
    ]


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def _difference(ours: list, theirs: list) -> str:
    """Return the mean difference of the last values over the same seeds, with its 95 % interval (paired t)."""
    differences = np.array([a[1][-1] - b[1][-1] for a, b in zip(ours, theirs, strict=True)])
    if len(differences) < 2:
        return f"{differences[0]:+.3f}"
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    return f"{differences.mean():+.3f} [{differences.mean() - half:+.3f}, {differences.mean() + half:+.3f}]"


def draw(runs: dict[str, list[list[Line]]], path: Path) -> None:
    """Draw accuracy over iterations and over wall time, and tokens over iterations."""
    style = {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#E4E4E4"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(14, 4.4), layout="constrained")
        panels = figure.subplots(1, 3)
        for number, (arm, seeds) in enumerate(runs.items()):
            look = {
                "color": COLOURS[number % len(COLOURS)],
                "linestyle": DASHES[number % len(DASHES)],
                "linewidth": 1.8,
            }
            for axes, key in ((panels[0], ACCURACY), (panels[2], TOKENS)):
                curves = [curve(lines, key) for lines in seeds]
                _band(axes, curves[0][0], np.array([y for _, y in curves]), look, arm)
            timed = [[(line["seconds"] - lines[0]["seconds"], line[ACCURACY]) for line in lines if ACCURACY in line]
                     for lines in seeds]  # fmt: skip
            values = np.array(timed)
            _band(panels[1], values[:, :, 0].mean(axis=0), values[:, :, 1], look, arm)
        panels[0].set(xlabel="iteration", ylabel="held-out accuracy")
        panels[1].set(xlabel="seconds of training", ylabel="held-out accuracy")
        panels[2].set(xlabel="iteration", ylabel="mean length of a response (tokens)")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(5, len(names)), frameon=False)
        figure.savefig(path, dpi=110)


def _band(axes: mpl.axes.Axes, x: np.ndarray, values: np.ndarray, look: dict, label: str) -> None:
    mean, spread = values.mean(axis=0), values.std(axis=0)
    axes.plot(x, mean, label=label, marker=".", **look)
    axes.fill_between(x, mean - spread, mean + spread, color=look["color"], alpha=0.15, linewidth=0)


if __name__ == "__main__":
    main()
