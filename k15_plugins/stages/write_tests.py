"""The stage that writes tests for programming problems (paper 2.3.5)."""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from datasets import Dataset

from k15_plugins.code_tests.cyaron_folder import cyaron_folder
from k15_plugins.code_tests.funnel import funnel_of
from k15_plugins.code_tests.in_threads import in_threads
from k15_plugins.code_tests.prompt import generator_in, generator_prompt
from k15_plugins.code_tests.reasons import Dropped, Reason
from k15_plugins.code_tests.rules import Rules
from k15_plugins.code_tests.untested import UntestedProblem, read_untested
from k15_plugins.code_tests.verify_problem import check_candidate, verify_problem
from k15_plugins.files.jsonl import append_lines, drop_half_line, put_in_order, read_lines
from k15_plugins.processes import is_first_rank
from k15_plugins.report.funnel import draw_funnel
from k15_plugins.report.history import METRICS
from k15_plugins.report.terminal import duration
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.labels import say
from k15_plugins.runs.resume import shown
from k15_plugins.runs.vocabulary import build_model
from k15_plugins.stages.collect import Sampling, collect
from k15_plugins.stages.train import quiet
from k15_plugins.tasks.problems import make_prompt

KEPT = "problems.jsonl"
DROPPED = "dropped.jsonl"
GENERATORS = "samples"
_REWARD = {"generator": {"_target_": "k15_plugins.code_tests.prompt.has_generator"}}


def write_tests(
    config: dict[str, Any],
    run_dir: Path,
    problems: str,
    rules: dict[str, Any],
    sandbox: dict[str, Any],
    conversational: bool = True,
    batch_size: int = 8,
    workers: int | None = None,
) -> None:
    """Write tests for problems that have submissions but no tests, and say of each other why it was dropped.

    Args:
        config: The resolved config; its `model` node, if there is one, writes the generators that the file lacks, with
            the generation settings of `trainer.args`.
        run_dir: The run's folder; takes `problems.jsonl`, `dropped.jsonl`, the model's responses and the picture.
        problems: A JSONL file, see `code_tests.untested.read_untested`.
        rules: Node of `code_tests.rules.Rules`.
        sandbox: Node of the sandbox.
        conversational: Whether the model is asked in a conversation.
        batch_size: Responses that the model writes at once.
        workers: Problems that are worked on at once; by default one a core.

    Raises:
        ValueError: If a row of the file is wrong, or a number of the rules.
        SandboxUnavailable: If this machine gives no isolation.
    """
    quiet()
    numbers = build(rules)
    everything = read_untested(problems)
    candidates = [problem for problem in everything if _why_dropped(problem, numbers) is None]
    generators = {problem.id: problem.generator for problem in candidates if problem.generator is not None}
    asked = [problem for problem in candidates if problem.generator is None]
    if asked and config.get("model"):
        generators |= _ask_model(config, run_dir, asked, conversational, batch_size)
    if not is_first_rank():
        return
    boxes = build(sandbox)
    cyaron_folder()  # before the threads, and before any problem pays for its absence
    done = _done(run_dir)
    if done:
        say(f"{len(done)} of {len(everything)} problems are done already")
    # None of these runs a program.
    for problem in everything:
        why = _why_dropped(problem, numbers)
        if why is not None and problem.id not in done:
            append_lines(run_dir / DROPPED, [_dropped(problem, why)])
            done.add(problem.id)
    open_problems = [problem for problem in everything if problem.id not in done]

    def verify(problem: UntestedProblem) -> dict[str, Any] | Dropped:
        try:
            return verify_problem(problem, generators.get(problem.id), boxes, numbers, config["seed"])
        except Dropped as why:
            return why

    show = _Progress(len(everything), len(done))
    for problem, outcome in in_threads(verify, open_problems, workers or os.cpu_count() or 1):
        if isinstance(outcome, Dropped):
            append_lines(run_dir / DROPPED, [_dropped(problem, outcome)])
        else:
            append_lines(run_dir / KEPT, [outcome])
        show(isinstance(outcome, dict))
    _close(run_dir, [problem.id for problem in everything])


def _why_dropped(problem: UntestedProblem, rules: Rules) -> Dropped | None:
    try:
        check_candidate(problem, rules)
    except Dropped as why:
        return why
    return None


def _dropped(problem: UntestedProblem, why: Dropped) -> dict[str, Any]:
    return {"id": problem.id, "reason": str(why.reason), "detail": why.detail}


def _ask_model(
    config: dict[str, Any], run_dir: Path, asked: list[UntestedProblem], conversational: bool, batch_size: int
) -> dict[str, str]:
    """Let the model write generators: id of the problem -> source, for those responses that have one."""
    prompts = [make_prompt(generator_prompt(problem.prompt), None, conversational) for problem in asked]
    rows = Dataset.from_dict({"prompt": prompts})
    model, tokenizer = build_model(config["model"], rows)
    sampling = Sampling({**config, "reward": _REWARD}, run_dir, rows, num_samples=1, batch_size=batch_size)
    found = {}
    for problem, prompt, sampled in zip(
        asked, prompts, collect(sampling, model, tokenizer, run_dir / GENERATORS), strict=True
    ):
        if sampled.prompt != prompt:
            raise ValueError(
                f"{run_dir / GENERATORS} holds generators for other problems than stage.problems does now; start a "
                "new run."
            )
        source = generator_in(sampled.samples[0].response)
        if source is not None:
            found[problem.id] = source
    if is_first_rank():
        say(f"the model wrote a program for {len(found)} of {len(asked)} problems")
    return found


def _done(run_dir: Path) -> set[str]:
    """Return the ids of the problems that an earlier process has finished."""
    done = set()
    for name in (KEPT, DROPPED):
        if (run_dir / name).exists():
            drop_half_line(run_dir / name)
            done |= {line["id"] for line in read_lines(run_dir / name)}
    return done


def _close(run_dir: Path, ids: list[str]) -> None:
    """Put the problems in the order of their file, whatever thread was first, and tell what became of them."""
    order = {name: place for place, name in enumerate(ids)}
    for name in (KEPT, DROPPED):
        (run_dir / name).touch()
        put_in_order(run_dir / name, lambda line: order[line["id"]])
    dropped = Counter(Reason(line["reason"]) for line in read_lines(run_dir / DROPPED))
    with (run_dir / KEPT).open("rb") as file:
        funnel = funnel_of(sum(1 for _ in file), dropped)
    print(f"\n{funnel.table()}\n", flush=True)
    (run_dir / "funnel.md").write_text(funnel.table() + "\n")
    draw_funnel(funnel, run_dir / folder.PICTURES / "funnel.png")
    line = {"step": 0, "iteration": 0, "problems": len(ids), "kept": funnel.kept, "dropped": len(ids) - funnel.kept}
    (run_dir / METRICS).write_text(json.dumps(line) + "\n")
    say(f"{funnel.kept} of {len(ids)} problems have tests now: {shown(run_dir / KEPT)}")


class _Progress:
    """A line every few seconds: how many problems are done, how many of them have tests, how long it will take."""

    def __init__(self, total: int, before: int, every_seconds: float = 10.0) -> None:
        self.total, self.before, self.every = total, before, every_seconds
        self.done, self.kept = before, 0
        self.began = self.spoke = time.monotonic()

    def __call__(self, kept: bool) -> None:
        self.done += 1
        self.kept += kept
        now = time.monotonic()
        if now - self.spoke >= self.every or self.done == self.total:
            self.spoke = now
            left = (now - self.began) / (self.done - self.before) * (self.total - self.done)
            print(f"tested {self.done}/{self.total} problems  kept {self.kept}  ETA {duration(left)}", flush=True)
