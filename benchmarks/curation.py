"""Reinforcement learning on curated against raw problems, equal budgets: `python benchmarks/curation.py`.

The raw set is made for this: half of its problems are sums as the recipe trains on, and half have wrong answers, of
two kinds that careless collections have. Writes the sets into `outputs/benchmarks/curation/`, curates by
`+recipe=curate`, and trains as `benchmarks/learning.py` does; what is finished is not run again. Makes
`docs/results/curation.md` and `.png`.
"""

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import learning
import numpy as np
import yaml
from learning import ACCURACY, KIMI, RESULTS, ROOT, RUNS, SEEDS, TOKENS

from k15_plugins.files.jsonl import read_lines
from k15_plugins.report.history import curve
from k15_plugins.runs.build import build
from k15_plugins.runs.folder import read_status
from k15_plugins.samples import read_samples

SETS = RUNS / "curation"
GENUINE, LAST, WRONG = "right answers", "the last number of the question as answer", "wrong by 1 to 3"
SIZES = {GENUINE: 500, LAST: 250, WRONG: 250}
PLACE = "outputs/benchmarks/curation"


def task(name: str) -> list[str]:
    """Return the words that choose a set, with the recipe's own held-out problems."""
    path = f"{PLACE}/{name}.jsonl"
    return ["task=jsonl", f"task.path={path}", f"task.held_out={PLACE}/held_out.jsonl", "task.domain_column=domain"]


CURATIONS = {
    "curated": ["+recipe=curate", *task("raw")],
    "curated_solvable": ["+recipe=curate", *task("raw"), "stage.rules.drop_unsolved=true"],
}
RL = [*KIMI, "reward=exact_match"]
ARMS = {"raw": [*RL, *task("raw")], **{name: [*RL, *task(f"{name}/curated")] for name in CURATIONS}}
DEAD = "k15/dead_groups"


def main() -> None:
    """Make the sets, curate, train what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time (one core each)")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = parser.parse_args()
    write_sets()
    for name, words in CURATIONS.items():
        curate(name, words)
    learning.ARMS.update({f"curation_{name}": words for name, words in ARMS.items()})
    with ThreadPoolExecutor(options.jobs) as pool:
        # Seed by seed, so that what a stopped benchmark leaves can be compared.
        list(
            pool.map(lambda job: learning.run(*job), [(f"curation_{a}", seed) for seed in options.seeds for a in ARMS])
        )
    write_page(options.seeds)


def write_sets() -> None:
    """Write the raw problems, and the recipe's own held-out ones."""
    SETS.mkdir(parents=True, exist_ok=True)
    node = yaml.safe_load((ROOT / "conf" / "task" / "chain_sum.yaml").read_text())
    problems = build(node | {"train_size": sum(SIZES.values())})
    rng = random.Random(0)
    kinds = [kind for kind, size in SIZES.items() for _ in range(size)]
    rng.shuffle(kinds)
    rows = []
    for kind, row in zip(kinds, problems.train, strict=True):
        last = row["prompt"].removesuffix(" =").split()[-1]
        wrong = str(int(row["answer"]) + rng.choice([-3, -2, -1, 1, 2, 3]))
        answer = {GENUINE: row["answer"], LAST: last, WRONG: wrong}[kind]
        rows.append({"prompt": row["prompt"], "answer": answer, "domain": kind})
    held_out = [{"prompt": row["prompt"], "answer": row["answer"], "domain": GENUINE} for row in problems.held_out]
    for name, lines in (("raw", rows), ("held_out", held_out)):
        (SETS / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def curate(name: str, words: list[str]) -> None:
    """Curate the raw problems, unless that is done."""
    folder = SETS / name
    if (folder / "status.json").exists() and read_status(folder)["state"] == "finished":
        return
    place = f"resume={folder}" if (folder / "config.yaml").exists() else f"hydra.run.dir={folder}"
    subprocess.run([sys.executable, str(ROOT / "recipes" / "run.py"), *words, place], cwd=ROOT, check=True)


def write_page(seeds: list[int]) -> None:
    """Write the tables and the picture."""
    runs = {name: learning.read(f"curation_{name}", seeds) for name in ARMS}
    RESULTS.mkdir(parents=True, exist_ok=True)
    learning.draw(runs, RESULTS / "curation.png")
    curves = {name: [curve(lines, ACCURACY) for lines in runs[name]] for name in ARMS}
    rows = [
        "# Curated against raw problems",
        "",
        f"The raw set is made for this test, so that curation has something to do: {SIZES[GENUINE]} sums with right "
        f"answers, {SIZES[LAST]} that have the last number of the question for an answer, and {SIZES[WRONG]} whose "
        "answer is wrong by 1 to 3. It says what curation does for a set with such flaws, and nothing of how many "
        "flaws a set of yours has. Sums that the embedded model always solves are too few to be a part of it. Made by "
        "`python benchmarks/curation.py`.",
        "",
        "## What curation keeps",
        "",
        f"| set | {' | '.join(SIZES)} | all | sampled tokens |",
        f"|---|{'---|' * (len(SIZES) + 2)}",
        f"| raw | {' | '.join(map(str, SIZES.values()))} | {sum(SIZES.values())} | - |",
    ]
    for name in CURATIONS:
        kept = Counter(line["domain"] for line in read_lines(SETS / name / "curated.jsonl"))
        tokens = sum(
            sample.tokens
            for part in ("guesses", "responses")
            for problem in read_samples(SETS / name / "samples" / part)
            for sample in problem.samples
        )
        rows.append(f"| {name} | {' | '.join(str(kept[kind]) for kind in SIZES)} | {kept.total()} | {tokens:,} |")
    rows += [
        "",
        "`curated` has the recipe's default filters; `curated_solvable` also drops what none of 10 responses solves. "
        "That takes out wrong answers, and some of the hardest right ones with them.",
        "",
        "## What RL makes of it",
        "",
        f"20 iterations of 16 problems x 8 rollouts, drawn uniformly. Held-out accuracy at temperature 1 on 512 sums "
        f"with right answers: mean ± standard deviation over the seeds {', '.join(map(str, seeds))}; brackets are 95 "
        "% intervals of the difference over the same seeds. A dead group has equal rewards and teaches nothing. What "
        "curation samples is not part of the budget; it is in the table above."
        + (
            ""
            if len(seeds) >= len(SEEDS)
            else " Fewer seeds than the five of the other pages: the intervals are wide."
        ),
        "",
        "| arm | start | 10 | 20 | dead groups | tokens at the end | difference to raw at the end |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ARMS:
        at = [[float(y[x == place][0]) for x, y in curves[name]] for place in (0.0, 10.0, 20.0)]
        dead = np.mean([curve(lines, DEAD)[1].mean() for lines in runs[name]])
        tokens = np.mean([curve(lines, TOKENS)[1][-1] for lines in runs[name]])
        rows.append(
            f"| {name} | {' | '.join(learning._mean(values) for values in at)} | {dead:.2f} | {tokens:.1f} | "
            f"{learning._difference(curves[name], curves['raw']) if name != 'raw' else '-'} |"
        )
    rows += ["", "![Curated against raw problems](curation.png)", "", "The arms, as commands:", ""]
    commands = {f"set {name}": words for name, words in CURATIONS.items()} | ARMS
    for name, words in commands.items():
        place = f"hydra.run.dir={PLACE}/{name[4:]}" if name.startswith("set ") else "seed=..."
        rows.append(f"- `{name}`: `python recipes/run.py {' '.join(words)} {place}`")
    (RESULTS / "curation.md").write_text("\n".join(rows) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
