"""The stage that chooses the problems of reinforcement learning (paper 2.1).

The filters run in the order of what they cost: words first, then duplicates and benchmarks, then short guesses, then
whole responses. The first three need no model, so what they find is told before one is loaded.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from k15_plugins.curation.difficulty import level_of, why_no_use
from k15_plugins.curation.domains import balance
from k15_plugins.curation.duplicates import near_duplicates
from k15_plugins.curation.exclusions import why_excluded
from k15_plugins.curation.guesses import Guess, guessed
from k15_plugins.curation.overlap import overlaps
from k15_plugins.curation.rules import Rules
from k15_plugins.curation.selection import Question, Selection, questions_of
from k15_plugins.evaluation.benchmarks import questions_in
from k15_plugins.files.jsonl import Line
from k15_plugins.files.whole import write_whole
from k15_plugins.processes import is_first_rank
from k15_plugins.report.funnel import draw_funnel
from k15_plugins.report.history import METRICS
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import wants_fsdp
from k15_plugins.runs.labels import say
from k15_plugins.runs.resume import shown
from k15_plugins.runs.vocabulary import build_model
from k15_plugins.samples import SampledProblem
from k15_plugins.stages.collect import Sampling, collect
from k15_plugins.stages.problems import build_problems, check_train
from k15_plugins.stages.train import quiet

CURATED = "curated.jsonl"
HELD_OUT = "curated_held_out.jsonl"
DROPPED = "dropped.jsonl"
GUESSES = "samples/guesses"
RESPONSES = "samples/responses"


def curate(
    config: dict[str, Any],
    run_dir: Path,
    rules: dict[str, Any],
    guess: dict[str, Any],
    benchmarks: dict[str, str] | None = None,
    batch_size: int = 256,
) -> None:
    """Choose problems to train on, and say of each other why it was dropped.

    Args:
        config: The resolved config; its `model` samples, with the generation settings of `trainer.args`, and the
            first `reward` judges.
        run_dir: The run's folder; takes `curated.jsonl`, `curated_held_out.jsonl` (the task's own, in the same form),
            `dropped.jsonl`, the samples, and the funnel as table and picture.
        rules: Node of `curation.rules.Rules`.
        guess: Node of `curation.guesses.Guess`.
        benchmarks: Name of a benchmark of `evaluation.benchmarks` -> a JSONL file with its columns; no problem of
            theirs is kept.
        batch_size: Responses that each process samples at once.

    Raises:
        ValueError: If a number or a file is wrong, or a filter leaves no problem.
    """
    quiet()
    numbers: Rules = build(rules)
    guessing: Guess = build(guess)
    selection, problems, held_out, reward_func = _begin(config, numbers)
    _without_model(selection, numbers, benchmarks or {})
    sample = _Sampler(config, run_dir, batch_size)
    if numbers.guesses is not None:
        rows = problems.select(selection.left)
        columns = {name: rows[name][:] for name in rows.column_names}
        asked = Dataset.from_dict(columns | {"prompt": [guessing.prompt(prompt) for prompt in columns["prompt"]]})
        _tell(f"{len(rows)} problems are left; guessing without reasoning")
        settings = {"temperature": guessing.temperature, "max_completion_length": guessing.max_completion_length}
        judge = guessing.judged_by(reward_func)
        guesses = sample(asked, numbers.guesses, judge, GUESSES, model=guessing.model, settings=settings)
        selection.apply("hard to guess", guessed(guesses), "set stage.rules.guesses=null, or look at the guesses")
    rows = problems.select(selection.left)
    _tell(f"{len(rows)} problems are left; sampling responses")
    sampled = sample(rows, numbers.samples, reward_func, RESPONSES)
    by_row = dict(zip(selection.left, sampled, strict=True))
    _by_difficulty(selection, sampled, numbers)
    _by_domain(selection, numbers, config["seed"])
    if is_first_rank():
        _write(run_dir, selection, by_row, numbers.levels, held_out)


class _Sampler:
    """Samples problems with one model or another; each is loaded once, when it is first needed."""

    def __init__(self, config: dict[str, Any], run_dir: Path, batch_size: int) -> None:
        self.config, self.run_dir, self.batch_size = config, run_dir, batch_size
        self.loaded: dict[str | None, tuple[Any, Any]] = {}

    def __call__(
        self,
        rows: Dataset,
        number: int,
        reward_func: Any,
        into: str,
        model: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> list[SampledProblem]:
        config = self.config
        if model not in self.loaded:
            node = config["model"] if model is None else {"_target_": "k15_plugins.models.hub", "name": model}
            self.loaded[model] = build_model(node, rows)
        args = config["trainer"]["args"] | (settings or {})
        changed = {**config, "trainer": {**config["trainer"], "args": args}}
        place = self.run_dir / into
        sampling = Sampling(changed, self.run_dir, rows, number, self.batch_size, reward_func)
        sampled = collect(sampling, *self.loaded[model], place)
        if any(each.prompt != prompt for each, prompt in zip(sampled, rows["prompt"], strict=True)):
            raise ValueError(f"{place} holds samples of other problems than the task gives now; start a new run.")
        return sampled


def _begin(config: dict[str, Any], rules: Rules) -> tuple[Selection, Dataset, Dataset, Any]:
    if wants_fsdp():
        raise ValueError("backend=fsdp shards the model, and sampling needs it whole; take backend=accelerate.")
    problems, reward_funcs = build_problems(config)
    check_train(config, problems)
    columns = problems.train.column_names
    if "answer" not in columns or "images" in columns or "image" in columns:
        raise ValueError(
            f"task ({config['task']['_target_'].rpartition('.')[2]}) must give problems in text with the column "
            f"answer to be curated, got the columns {', '.join(columns)}; take another task."
        )
    selection = Selection(questions_of({name: problems.train[name][:] for name in columns if name != "entry"}))
    domains = len({question.domain for question in selection.questions})
    if rules.max_domain_share is not None and rules.max_domain_share * domains < 1:
        raise ValueError(
            f"stage.rules.max_domain_share must be at least 1/{domains} (1 by the number of domains), got "
            f"{rules.max_domain_share}; raise it, or tell the domains by task.domain_column."
        )
    return selection, problems.train, problems.held_out, reward_funcs[0]


def _without_model(selection: Selection, rules: Rules, benchmarks: dict[str, str]) -> None:
    questions = {name: questions_in(name, path, f"stage.benchmarks.{name}") for name, path in benchmarks.items()}
    if rules.exclude:
        pairs = zip(selection.of_left("text"), selection.of_left("answer"), strict=True)
        drops = {place: why_excluded(text, answer) for place, (text, answer) in enumerate(pairs)}
        found = {place: drop for place, drop in drops.items() if drop is not None}
        selection.apply("can be verified", found, "set stage.rules.exclude=false, or take other problems")
    if rules.duplicates is not None:
        found = near_duplicates(selection.of_left("text"), selection.of_left("answer"), rules.duplicates)
        selection.apply("no near-duplicates", found, "raise stage.rules.duplicates")
    if questions:
        found = overlaps(selection.of_left("text"), questions, rules.benchmarks)
        selection.apply("in no benchmark", found, "raise stage.rules.benchmarks, or leave stage.benchmarks out")


def _by_difficulty(selection: Selection, sampled: Sequence[SampledProblem], rules: Rules) -> None:
    drops = {
        place: why_no_use(_right(problem), len(problem.samples), rules.drop_solved, rules.drop_unsolved)
        for place, problem in enumerate(sampled)
    }
    found = {place: drop for place, drop in drops.items() if drop is not None}
    cure = "set stage.rules.drop_solved=false and drop_unsolved=false, or take harder or easier problems"
    selection.apply("neither too easy nor too hard", found, cure)


def _by_domain(selection: Selection, rules: Rules, seed: int) -> None:
    if rules.max_domain_share is None and rules.max_domain_size is None:
        return
    domains, texts = selection.of_left("domain"), selection.of_left("text")
    found = balance(domains, texts, rules.max_domain_share, rules.max_domain_size, seed)
    selection.apply("domains balanced", found, "raise stage.rules.max_domain_share")


def _right(problem: SampledProblem) -> int:
    return sum(sample.right for sample in problem.samples)


def _tell(text: str) -> None:
    if is_first_rank():
        say(text)


def _write(
    run_dir: Path, selection: Selection, sampled: dict[int, SampledProblem], levels: int, held_out: Dataset
) -> None:
    kept = []
    for row in selection.left:
        own = sampled[row]
        level = level_of(_right(own), len(own.samples), levels)
        kept.append(_line(selection.questions[row], level) | {"pass_rate": _right(own) / len(own.samples), "row": row})
    dropped = []
    for row, drop in sorted(selection.dropped.items()):
        why = {"reason": str(drop.reason), "detail": drop.detail, "row": row}
        dropped.append(_line(selection.questions[row], None) | why)
    _write_lines(run_dir / CURATED, kept)
    _write_lines(run_dir / DROPPED, dropped)
    if len(held_out):
        columns = {name: held_out[name][:] for name in held_out.column_names if name != "entry"}
        measured = zip(questions_of(columns), columns["level"], strict=True)
        _write_lines(run_dir / HELD_OUT, [_line(question, level) for question, level in measured if question.answer])
    _show(run_dir, selection, kept)


def _line(question: Question, level: int | None) -> Line:
    line = {"prompt": question.prompt, "answer": question.answer, "domain": question.domain}
    return line if level is None else line | {"level": level}


def _write_lines(path: Path, lines: Sequence[Line]) -> None:
    write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _show(run_dir: Path, selection: Selection, kept: Sequence[Line]) -> None:
    funnel = selection.funnel()
    of_levels = Counter(line["level"] for line in kept)
    levels = [
        "| level | problems |",
        "|---|---|",
        *(f"| {level} | {of_levels[level]} |" for level in sorted(of_levels)),
    ]
    text = "\n\n".join([funnel.table(), selection.domain_table(), "\n".join(levels)])
    print(f"\n{text}\n", flush=True)
    (run_dir / "funnel.md").write_text(text + "\n")
    draw_funnel(funnel, run_dir / folder.PICTURES / "funnel.png")
    total = len(selection.questions)
    pass_rate = sum(line["pass_rate"] for line in kept) / len(kept)
    line = {"step": 0, "iteration": 0, "problems": total, "kept": len(kept), "dropped": total - len(kept)}
    (run_dir / METRICS).write_text(json.dumps(line | {"pass_rate": pass_rate}) + "\n")
    say(f"{len(kept)} of {total} problems are kept: {shown(run_dir / CURATED)}")
    say(f"train on them by task=jsonl task.path={shown(run_dir / CURATED)} task.level_column=level")
