"""What both reward models are trained and measured on: pairs of judged responses, and a model that can read them."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset

from k15_plugins.curation.judgements import Dropped, Examples, Judgement, Pair, balance
from k15_plugins.curation.read_judgements import judgements_of, read_judgements
from k15_plugins.files.jsonl import append_lines
from k15_plugins.files.whole import whole_folder, write_whole
from k15_plugins.models import tokenizer_of
from k15_plugins.models.value_head import add_words
from k15_plugins.processes import is_first_rank
from k15_plugins.report.history import METRICS
from k15_plugins.rewards.judgement import judge_prompt
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import wants_fsdp
from k15_plugins.runs.labels import say
from k15_plugins.runs.vocabulary import build_model, check_vocabulary
from k15_plugins.stages.train import quiet

JUDGED = "judged"
"""The folder of the examples in the run's: `train.jsonl`, `held_out.jsonl`, `dropped.jsonl`."""
JUDGEMENTS = "judgements.jsonl"
"""What the trained judge said of each held-out response."""


def build_examples(
    config: dict[str, Any], run_dir: Path, samples: str | None, responses: dict[str, Any] | None, rules: dict[str, Any]
) -> Examples:
    """Read or write responses with verdicts, and choose balanced pairs of them; no model is loaded.

    Args:
        config: The resolved config; its task has the right answers.
        run_dir: The run's folder; takes the examples.
        samples: Samples or rollouts of a run, see `curation.read_judgements`.
        responses: Without samples: node of a function of `problems` and `seed` that returns sampled problems.
        rules: Node of `curation.judgements.Rules`.

    Raises:
        ValueError: If a file is wrong, or the responses give nothing to train or to measure on.
    """
    quiet()
    if wants_fsdp():
        raise ValueError("backend=fsdp shards the model, and measuring needs it whole; take backend=accelerate.")
    numbers = build(rules)
    if (samples is None) == (responses is None):
        raise ValueError(
            f"stage.samples must be a path, or null beside stage.responses, got {samples!r} and "
            f"{'no' if responses is None else 'a'} node; set stage.responses=null with samples of your own."
        )
    problems = build(config["task"]).train
    if samples is not None:
        judgements, source = read_judgements(Path(samples), problems), f"stage.samples={samples}"
    else:
        judgements = judgements_of(build(responses or {}, problems=problems, seed=config["seed"]), problems)
        source = "stage.responses"
    _check_both(judgements, source)
    examples = balance(judgements, numbers, config["seed"])
    for name in ("train", "held_out"):
        if not getattr(examples, name):
            raise ValueError(
                f"{source} gives {len(examples.train)} pairs to train on and {len(examples.held_out)} held-out ones, "
                f"and none may be missing; give more problems, or change stage.rules.held_out={numbers.held_out}."
            )
    if is_first_rank():
        _write(run_dir / JUDGED, examples)
        _tell(examples, len(judgements))
    return examples


def _check_both(judgements: Sequence[Judgement], source: str) -> None:
    right = sum(each.correct for each in judgements)
    if not judgements or right in (0, len(judgements)):
        missing = "response" if not judgements else "wrong response" if right else "right response"
        raise ValueError(
            f"{source} must hold right and wrong responses, got no {missing} among {len(judgements)}; sample more of "
            "them to each problem, at temperature 1 say."
        )


def _write(place: Path, examples: Examples) -> None:
    if place.exists():
        return  # the same config gave the same examples
    with whole_folder(place) as half:
        for name in ("train", "held_out"):
            pairs: list[Pair] = getattr(examples, name)
            lines = ({"pair": number} | asdict(one) for number, pair in enumerate(pairs) for one in both(pair))
            append_lines(half / f"{name}.jsonl", lines)
        append_lines(
            half / "dropped.jsonl",
            ({"reason": str(each.reason)} | asdict(each.judgement) for each in examples.dropped),
        )


def _tell(examples: Examples, number: int) -> None:
    pairs = [*examples.train, *examples.held_out]
    openers = sum(pair.wrong.kind != "sampled" for pair in pairs)
    say(
        f"{number} judged responses give {len(examples.train)} pairs to train on and {len(examples.held_out)} "
        f"held-out ones; {openers} wrong responses are openers"
    )
    tell_dropped(examples.dropped)


def tell_dropped(dropped: Iterable[Dropped]) -> None:
    """Say how many responses are left out, by reason.

    Args:
        dropped: What is left out.
    """
    for reason, number in Counter(each.reason for each in dropped).most_common():
        say(f"left out {number}: {reason}")


def both(pair: Pair) -> tuple[Judgement, Judgement]:
    """Return both sides of a pair, the right one first.

    Args:
        pair: The pair.
    """
    return pair.right, pair.wrong


def prompt_of(judgement: Judgement, template: str) -> str:
    """Return what the judge reads, which is also what the served judge reads.

    Args:
        judgement: The response, with its question and reference.
        template: As in `rewards.judgement.judge_prompt`.
    """
    return judge_prompt(judgement.question, judgement.reference, judgement.response, template)


def load_model(config: dict[str, Any], examples: Examples, template: str, new_words: Sequence[str]) -> tuple[Any, Any]:
    """Load the model that becomes a judge, with words added to its tokenizer, which is checked first.

    Args:
        config: The resolved config.
        examples: What it has to read.
        template: As in `rewards.judgement.judge_prompt`.
        new_words: Words that its tokenizer may lack.

    Returns:
        Model and tokenizer.

    Raises:
        ValueError: If the tokenizer does not know the words of the examples.
    """
    prompts = [prompt_of(one, template) for pair in examples.train[:256] for one in both(pair)]
    rows = Dataset.from_dict({"prompt": prompts})
    first = tokenizer_of(config["model"])
    if first is not None:
        first.add_tokens([word for word in new_words if word not in first.get_vocab()])
        check_vocabulary(first, rows)
    model, tokenizer = build_model(config["model"])
    add_words(model, tokenizer, new_words)
    if first is None:
        check_vocabulary(tokenizer, rows)
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": tokenizer.eos_token})  # as the trainers do
    return model, tokenizer


def save_judge(
    run_dir: Path,
    trainer: Any,
    tokenizer: Any,
    reads: dict[str, Any],
    figures: dict[str, float],
    said: Sequence[dict[str, Any]],
) -> None:
    """Save a judge with its tokenizer, what is known of it, and what it said of the held-out responses.

    Args:
        run_dir: The run's folder.
        trainer: Has the model.
        tokenizer: Its tokenizer.
        reads: What `judge.json` says of the judge's kind and of what it reads.
        figures: How well it judges: also in `judge.json`, and the run's last figures.
        said: A line for each held-out response, with `correct` and the judge's `verdict`.
    """
    trainer.save_model(str(run_dir / folder.MODEL))
    if not is_first_rank():
        return
    tokenizer.save_pretrained(run_dir / folder.MODEL)
    write_whole(run_dir / folder.MODEL / folder.JUDGE, json.dumps(reads | figures, indent=1) + "\n")
    write_whole(run_dir / JUDGEMENTS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in said))
    line = {"step": trainer.state.global_step, "iteration": 0, "seconds": round(time.time(), 2)} | figures
    append_lines(run_dir / METRICS, [line])
    say(f"right verdicts on {len(said)} held-out responses: {figures['held_out_accuracy']:.3f}")


def figures_of(said: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return how well a judge judges; a verdict that could not be read counts as a wrong one.

    Args:
        said: A line for each held-out response: `correct`, `kind`, `verdict`.

    Returns:
        Shares of right verdicts: `held_out_accuracy`, of right and wrong responses, and of openers where there are
        some.
    """
    parts = {
        "held_out_accuracy": said,
        "held_out_accuracy_right": [line for line in said if line["correct"]],
        "held_out_accuracy_wrong": [line for line in said if not line["correct"]],
        "held_out_accuracy_openers": [line for line in said if line["kind"] != "sampled"],
    }
    return {
        name: sum(line["verdict"] is line["correct"] for line in lines) / len(lines)
        for name, lines in parts.items()
        if lines
    }
