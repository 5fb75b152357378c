"""Vanilla supervised fine-tuning on a mixture of sources, packed, with the loss on answers only (paper 2.5.2)."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import set_seed

from k15_plugins.curation import votes
from k15_plugins.curation.mixture import in_use, mix
from k15_plugins.files.whole import write_whole
from k15_plugins.models import tokenizer_of
from k15_plugins.models.document_attention import use_documents
from k15_plugins.processes import is_first_rank
from k15_plugins.report.recorder import RunRecorder
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import RefuseUnsharded, set_up_devices, wants_fsdp
from k15_plugins.runs.labels import say
from k15_plugins.stages.answer_tokens import NO_LOSS, tokenized
from k15_plugins.stages.reinforce import checkpoint_to_resume
from k15_plugins.stages.sft_settings import check_settings
from k15_plugins.stages.train import quiet, train
from k15_plugins.tasks.answered import Placed, checked, read_answered
from k15_plugins.trainers.resumable_sft import ResumableSFTTrainer

MIXTURE = "mixture.json"
"""Of each source its rows, those without enough votes, and those that are trained on."""
DROPPED = "dropped.jsonl"
"""The rows that fell out, with their place and the reason."""


def sft(
    config: dict[str, Any],
    run_dir: Path,
    sources: dict[str, Any],
    weights: dict[str, float],
    args: dict[str, Any],
    size: int | None = None,
    repeat: bool = False,
    min_share: float | None = 0.85,
) -> None:
    """Train by TRL's `SFTTrainer` on rows of several sources, by exact counts, for one epoch by default.

    Args:
        config: The resolved config.
        run_dir: The run's folder; takes the counts, what fell out, checkpoints and the model.
        sources: Name of a source to the file or dataset, to the arguments of `tasks.answered.read_answered`, to a node
            of a function that returns rows, or to null, which leaves it out.
        weights: Name of a source to its weight.
        args: Node of TRL's `SFTConfig`.
        size: Rows of the mixture; by default as many as the scarcest source allows.
        repeat: Whether rows of a source that is short of them are taken more than once.
        min_share: Share of the votes that lets a row through, and of the audited rows that lets a source through; None
            does not look at votes.

    Raises:
        ValueError: If a source or a row cannot be, which is told before the model is loaded.
    """
    quiet()
    set_up_devices()
    settings = build(args, output_dir=str(run_dir / folder.CHECKPOINTS), seed=config["seed"])
    check_settings(settings)
    checkpoint = checkpoint_to_resume(run_dir)
    found, used = in_use(sources, weights)
    rows = build_mixture(run_dir, found, used, size, config["seed"], repeat, min_share)
    tokenizer = tokenizer_of(config["model"])
    tokens = None if tokenizer is None else tokenized(rows, tokenizer, settings.max_length)
    set_seed(config["seed"])
    model, tokenizer = build(config["model"])
    if tokens is None:
        tokens = tokenized(rows, tokenizer, settings.max_length)
    trainer = ResumableSFTTrainer(
        model=model,
        args=settings,
        train_dataset=tokens.select_columns(["input_ids", "labels"]),
        processing_class=tokenizer,
        callbacks=[RunRecorder(run_dir), *([RefuseUnsharded()] if wants_fsdp() else [])],
    )
    if is_first_rank():
        say(plan(trainer))
        if checkpoint is not None:
            say(f"going on from {checkpoint.name}")
    with use_documents(model) if trainer.padding_free else nullcontext():
        train(trainer, checkpoint)
    trainer.save_model(str(run_dir / folder.MODEL))


def build_mixture(
    run_dir: Path,
    sources: dict[str, Any],
    weights: dict[str, float],
    size: int | None,
    seed: int,
    repeat: bool,
    min_share: float | None,
) -> Dataset:
    """Read the sources, leave out what has too few votes, and mix the rest.

    Args:
        run_dir: The run's folder; takes the counts and what fell out.
        sources: See `sft`; none is null.
        weights: See `sft`.
        size: See `sft`.
        seed: Of the draws and of the order.
        repeat: See `sft`.
        min_share: See `sft`.

    Returns:
        `place`, `source` and `row`, the row as JSON.

    Raises:
        ValueError: If a source or a row cannot be.
    """
    audits = [_audit(name, node, min_share) for name, node in sources.items()]
    if is_first_rank():
        _write_dropped(run_dir / DROPPED, audits, min_share)
    if min_share is not None:
        for each in audits:
            votes.check_source(each, min_share)
    data: dict[str, Dataset | None] = {each.source: _dataset(each) for each in audits}
    mixed = mix(data, weights, size, seed, repeat)
    taken = mixed.to_pandas()["source"].value_counts()
    counts = {
        each.source: {
            "weight": weights[each.source],
            "rows": len(each.kept) + len(each.dropped),
            "audited": each.audited,
            "dropped": len(each.dropped),
            "taken": int(taken.get(each.source, 0)),
        }
        for each in audits
    }
    if is_first_rank():
        write_whole(run_dir / MIXTURE, json.dumps(counts, indent=1) + "\n")
        parts = (f"{name} {each['taken']:,} of {each['rows'] - each['dropped']:,}" for name, each in counts.items())
        say(f"a mixture of {len(mixed):,} rows: {', '.join(parts)}")
    return mixed


def _audit(name: str, node: Any, min_share: float | None) -> votes.Audit:
    rows = _rows(name, node)
    return votes.Audit(name, list(rows)) if min_share is None else votes.audit(name, rows, min_share)


def _rows(name: str, node: Any) -> Iterator[Placed]:
    if isinstance(node, dict) and "_target_" in node:
        return checked((f"source {name}, row {number}", row) for number, row in enumerate(build(node), 1))
    known = ("path", "split", "subset")
    given = {"path": node} if isinstance(node, str) else node
    if not isinstance(given, dict) or "path" not in given or set(given) - set(known):
        raise ValueError(
            f"stage.sources.{name} must be a path, a group of {', '.join(known)}, a node or null, got {node!r:.100}; "
            "give the file."
        )
    place = Path(given["path"])
    if place.suffix in (".jsonl", ".json", ".gz", ".parquet") and not place.is_file():
        raise ValueError(
            f"stage.sources.{name} must be a file that is there, got {place}; give the file, or null to leave the "
            "source out."
        )
    return read_answered(**given)


def _dataset(found: votes.Audit) -> Dataset:
    return Dataset.from_dict(
        {
            "place": [place for place, _ in found.kept],
            "source": [found.source] * len(found.kept),
            "row": [json.dumps(row, ensure_ascii=False) for _, row in found.kept],
        }
    )


def _write_dropped(path: Path, audits: list[votes.Audit], min_share: float | None) -> None:
    lines = [
        {"source": each.source, "place": place, "reason": votes.reason(row, min_share or 0.0)} | row
        for each in audits
        for place, row in each.dropped
    ]
    write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    for each in audits:
        if each.dropped:
            say(
                f"left out {len(each.dropped):,} of {each.audited:,} audited rows of {each.source}, which had too few "
                f"votes ({DROPPED})"
            )


def plan(trainer: Any) -> str:
    """Say what an update is, in rows and in tokens.

    Args:
        trainer: With its data packed.
    """
    args, data = trainer.args, trainer.train_dataset
    per_update = trainer._train_batch_size * args.gradient_accumulation_steps * args.world_size
    tokens = answers = 0
    for batch in data.iter(1000):
        tokens += sum(map(len, batch["input_ids"]))
        answers += sum(label != NO_LOSS for labels in batch["labels"] for label in labels)
    kind = "packed rows" if args.packing else "rows"
    most = f", {per_update * args.max_length:,} at most" if args.max_length else ""
    return (
        f"{len(data):,} {kind} of {tokens:,} tokens in all, {100 * answers / tokens:.0f} % of them answers; an update "
        f"is {per_update:,} {kind}, {round(per_update * tokens / len(data)):,} tokens on average{most}"
    )
