"""The paper's reward models in miniature (2.3.5), classic against chain of thought: `python benchmarks/judges.py`.

Both start from the embedded model, learn from the same judged examples for the same number of updates, and are
measured on the same held-out judgements. First each learning rate is tried with seed 0, which then is left out; the
best of each arm runs with seeds 1 to 5. Every run is a job of its own in `outputs/benchmarks/judges/ARM/LR/SEED`; a
finished one is not run again, so a stopped benchmark goes on. Writes `docs/results/reward_models.md` and `.png`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from k15_plugins.files.jsonl import read_lines
from k15_plugins.files.whole import write_whole
from k15_plugins.report.curves import COLOURS, STYLE
from k15_plugins.runs.folder import read_status

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "outputs" / "benchmarks" / "judges"
RESULTS = ROOT / "docs" / "results"
TUNING_SEED = 0
SEEDS = (1, 2, 3, 4, 5)
RATES = ("1e-3", "3e-3")
ACCURACY = "held_out_accuracy"
STEPS = 500
MORE = 3
"""How many times as many updates, each on new examples, the third arm makes."""


@dataclass(frozen=True)
class Arm:
    """A reward model.

    Attributes:
        title: What it is called in the table.
        words: The command's.
        paper: What the paper reports for it, in percent.
        tuned_as: The arm whose learning rate it takes; none for an arm that is tuned itself.
    """

    title: str
    words: tuple[str, ...]
    paper: float | None
    tuned_as: str | None = None


_CLASSIC = "+recipe=reward_model"
ARMS = {
    "classic": Arm("classic, a value head", (_CLASSIC, f"stage.args.max_steps={STEPS}"), 84.4),
    "cot": Arm("chain of thought", ("+recipe=cot_reward_model", f"stage.args.max_steps={STEPS}"), 98.5),
    "classic_more": Arm(
        f"classic, {MORE} times the examples",
        (
            _CLASSIC,
            f"stage.args.max_steps={MORE * STEPS}",
            f"stage.responses.num_samples={MORE * 16}",
            f"stage.rules.pairs_per_problem={MORE * 8}",
        ),
        None,
        "classic",
    ),
}


def main() -> None:
    """Run what is missing, then write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    seeds = list(parser.parse_args().seeds)
    tuned = [arm for arm in ARMS if ARMS[arm].tuned_as is None]
    for arm in tuned:
        for rate in RATES:
            run(arm, rate, TUNING_SEED)
    best = {arm: best_rate(arm) for arm in tuned}
    best |= {arm: best[of] for arm, each in ARMS.items() if (of := each.tuned_as) is not None}
    for number, seed in enumerate(seeds, 1):
        for arm in tuned:
            run(arm, best[arm], seed)
        write(best, seeds[:number], tuned)  # a page with fewer seeds, should the rest have to wait
    for arm in ARMS:
        for seed in seeds:
            run(arm, best[arm], seed)
    print(write(best, seeds, list(ARMS)))


def run(arm: str, rate: str, seed: int) -> None:
    """Run an arm, or begin it again, unless it is finished; keeps the processor time that it took."""
    place = RUNS / arm / rate / str(seed)
    if (place / "cpu.json").exists():
        return
    where = [f"resume={place}"] if (place / "config.yaml").exists() else [f"hydra.run.dir={place}"]
    words = [*ARMS[arm].words, f"stage.args.learning_rate={rate}", f"seed={seed}", *where]
    log = place.parent / f"{seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("a") as output:
        command = [sys.executable, str(ROOT / "recipes" / "run.py"), *words]
        ended = subprocess.run(command, stdout=output, stderr=output, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode or read_status(place)["state"] != "finished":
        sys.exit(f"{arm} at {rate}, seed {seed}: failed, see {log}")
    seconds = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
    write_whole(place / "cpu.json", json.dumps({"cpu_seconds": round(seconds, 1)}) + "\n")
    print(f"{arm} at {rate}, seed {seed}: {note(arm, rate, seed)[ACCURACY]:.3f}, {seconds:.0f} s", flush=True)


def note(arm: str, rate: str, seed: int) -> dict[str, Any]:
    """Return what a run's judge says of itself, with the processor seconds of the run."""
    place = RUNS / arm / rate / str(seed)
    texts = ((place / name).read_text() for name in ("model/judge.json", "cpu.json"))
    return {key: value for text in texts for key, value in json.loads(text).items()}


def best_rate(arm: str) -> str:
    """Return the learning rate with which an arm was best on the tuning seed; of equal ones the smallest."""
    return max(RATES, key=lambda rate: note(arm, rate, TUNING_SEED)[ACCURACY])


def by_terms(arm: str, rate: str, seeds: list[int]) -> dict[int, list[float]]:
    """Return the accuracy of each seed by the numbers in a response; openers are left out."""
    found: dict[int, list[float]] = defaultdict(list)
    for seed in seeds:
        verdicts: dict[int, list[bool]] = defaultdict(list)
        for line in read_lines(RUNS / arm / rate / str(seed) / "judgements.jsonl"):
            if line["kind"] == "sampled":
                verdicts[len(line["response"].split()) // 2 + 1].append(line["verdict"] is line["correct"])
        for terms, right in verdicts.items():
            found[terms].append(float(np.mean(right)))
    return dict(sorted(found.items()))


def mean_interval(values_S: np.ndarray) -> str:
    """Write a mean over seeds with its 95 % t-interval."""
    if len(values_S) < 2:
        return f"{values_S.mean():.3f}"
    half = stats.t.ppf(0.975, len(values_S) - 1) * stats.sem(values_S)
    return f"{values_S.mean():.3f} [{values_S.mean() - half:.3f}, {values_S.mean() + half:.3f}]"


def write(best: dict[str, str], seeds: list[int], arms: list[str]) -> str:
    """Write the page and its picture from what the runs of some arms have left, and return the page."""
    notes = {arm: [note(arm, best[arm], seed) for seed in seeds] for arm in arms}
    values = {arm: np.array([each[ACCURACY] for each in notes[arm]]) for arm in arms}
    terms = {arm: by_terms(arm, best[arm], seeds) for arm in arms}
    draw(values, terms, RESULTS / "reward_models.png")
    several = len(seeds) > 1
    rows = [
        "# Reward models: a value head against a chain of thought",
        "",
        "The paper's comparison (2.3.5) in miniature. A response is a sum that has not been worked out, such as "
        "`7 - 4 + 2` where the right answer is 5; the judge reads question, right answer and response. Half of the "
        "responses are right. The wrong ones are near misses (by 1 to 3), and one in ten is an opener without an "
        "answer. Both judges start from the embedded model and learn from the same examples: "
        f"{STEPS} updates on 64 judgements each, every one seen once. They are measured on the same 1,000 held-out "
        "judgements of problems that no training example has. The value head has a threshold chosen on training "
        "examples; the chain of thought is sampled greedily, and a verdict that cannot be read is a wrong one.",
        "",
        (f"Mean over seeds {', '.join(map(str, seeds))} with its 95 % t-interval" if several else f"Seed {seeds[0]}")
        + "; a seed sets responses, order and new weights. Made by `python benchmarks/judges.py`.",
        "",
        "| arm | right verdicts | on right responses | on wrong ones | on openers | unreadable | processor seconds | "
        "the paper's, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm, each in ((name, ARMS[name]) for name in arms):
        parts = [np.mean([one[f"{ACCURACY}_{part}"] for one in notes[arm]]) for part in ("right", "wrong", "openers")]
        unreadable = [one["held_out_unreadable"] for one in notes[arm] if "held_out_unreadable" in one]
        cells = [
            each.title,
            mean_interval(values[arm]),
            *(f"{part:.3f}" for part in parts),
            f"{np.mean(unreadable):.3f}" if unreadable else "-",
            f"{np.mean([one['cpu_seconds'] for one in notes[arm]]):.0f}",
            f"{each.paper}" if each.paper else "-",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    gains = [f"{mean_interval(values['cot'] - values[arm])} less {ARMS[arm].title}" for arm in arms if arm != "cot"]
    rows += [
        "",
        f"Right verdicts of the chain of thought, over the same seeds: {'; '.join(gains)}. The paper has 98.5 and "
        "84.4 %, by spot checks of mathematical answers.",
        "",
        "Right verdicts by the number of terms in the response, openers left out:",
        "",
        f"| arm | {' | '.join(map(str, terms['cot']))} |",
        f"|---|{'---|' * len(terms['cot'])}",
    ]
    for arm, each in ((name, ARMS[name]) for name in arms):
        rows.append(f"| {each.title} | {' | '.join(f'{np.mean(of):.3f}' for of in terms[arm].values())} |")
    rows += [
        "",
        "![Right verdicts of both reward models](reward_models.png)",
        "",
        f"## Learning rates, on seed {TUNING_SEED} alone",
        "",
        f"| arm | {' | '.join(RATES)} |",
        f"|---|{'---|' * len(RATES)}",
    ]
    for arm in arms:
        if ARMS[arm].tuned_as is None:
            cells = [f"{note(arm, rate, TUNING_SEED)[ACCURACY]:.3f}" for rate in RATES]
            rows.append(f"| {ARMS[arm].title} | {' | '.join(cells)} |")
    rows += ["", *(ABOUT).splitlines(), "", "The arms, as commands:", ""]
    for arm, each in ((name, ARMS[name]) for name in arms):
        words = " ".join([*each.words, f"stage.args.learning_rate={best[arm]}"])
        rows.append(f"- `{arm}`: `python recipes/run.py {words} seed=...`")
    text = "\n".join(rows) + "\n"
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "reward_models.md").write_text(text)
    return text


ABOUT = """## What differs from the paper

- **The task favours reasoning**: to judge a response takes three to five additions one after the other, which three
  layers hardly do in one pass. That the chain of thought is ahead agrees with the paper. How far it is ahead, and that
  the value head stays near chance on near misses, does not: the paper's judges 84.4 % rightly.
- **Equal are examples and updates**, not processor time: reasoning takes more tokens, in training and in use.
- **The judgements** were made for this: an exact function says which are right and writes the reasoning, and their
  steps are those that the embedded model knows. Right answers are 0 to 9, because the last step subtracts the right
  answer, and the model subtracts one digit at a time. The paper has real responses and judgements that people checked.
- **The reasoning ends with a difference** (`5 - 5 is 0 .`), from which the verdict can be read off, and the verdict
  states the value that was worked out, which is compared with the right answer once more.
- **Size**: 345 thousand weights and tens of thousands of examples; the paper has about 800 thousand for each."""


def draw(values: dict[str, np.ndarray], terms: dict[str, dict[int, list[float]]], path: Path) -> None:
    """Draw the accuracy of each arm, every seed a dot, and the accuracy by the numbers in a response."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for place, (arm, values_S) in enumerate(values.items()):
            colour = COLOURS[place]
            left.plot([place] * len(values_S), values_S, "o", color=colour, alpha=0.6)
            left.plot([place - 0.25, place + 0.25], [values_S.mean()] * 2, color=colour, linewidth=2.5)
            if (paper := ARMS[arm].paper) is not None:
                label = "the paper's, on its own data" if place == 0 else None
                left.plot([place - 0.25, place + 0.25], [paper / 100] * 2, "--", color="#777777", label=label)
            means = np.array([np.mean(of) for of in terms[arm].values()])
            spread = np.array([np.std(of) for of in terms[arm].values()])
            x = list(terms[arm])
            right.plot(x, means, marker=".", color=colour, label=ARMS[arm].title)
            right.fill_between(x, means - spread, means + spread, color=colour, alpha=0.15, linewidth=0)
        left.axhline(0.5, color="#AAAAAA", linewidth=1)
        left.set(ylabel="right verdicts, held-out judgements", ylim=(0.45, 1.02), xlim=(-0.6, len(values) - 0.4))
        left.set_xticks(range(len(values)), [ARMS[arm].title.replace(", ", ",\n") for arm in values])
        left.legend(loc="center left")
        right.axhline(0.5, color="#AAAAAA", linewidth=1)
        right.set(xlabel="numbers in the response", ylabel="right verdicts", ylim=(0.45, 1.02))
        right.set_xticks(list(terms["cot"]))
        right.legend(loc="center left")
        figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
