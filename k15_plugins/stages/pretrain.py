"""Pretraining in text, cooldown and long-context activation: phases on documents, in turn (paper 2.5.1)."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, set_seed
from trl import SFTConfig

from k15_plugins import models
from k15_plugins.evaluation.document_loss import document_loss
from k15_plugins.files.jsonl import append_lines, read_lines
from k15_plugins.files.whole import whole_folder, write_whole
from k15_plugins.models.document_attention import use_documents
from k15_plugins.models.longer import load_longer
from k15_plugins.models.new_model import new_llama, train_tokenizer
from k15_plugins.processes import is_first_rank, processes
from k15_plugins.report.history import METRICS
from k15_plugins.report.recorder import RunRecorder
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import set_up_devices, wants_fsdp
from k15_plugins.runs.labels import say
from k15_plugins.stages.reinforce import checkpoint_to_resume
from k15_plugins.stages.train import quiet, train
from k15_plugins.tasks.problems import is_held_out
from k15_plugins.trainers.packing import Ids, full_rows, mix_tokens, partial_rows
from k15_plugins.trainers.resumable_sft import ResumableSFTTrainer

PHASES = "phases"
"""The folder of the phases in the run's: for each a model, and the loss on held-out documents."""
_LOSS = "held_out_loss"
_SIZES = ("vocab_size", "hidden_size", "layers", "heads")
_HELD_OUT_TOKENS = 50_000
# What makes a row of documents stay one: nothing is cut, packed again or padded.
_ARGS = {"padding_free": True, "packing": False, "max_length": None, "num_train_epochs": 1}


@dataclass(frozen=True)
class Phase:
    """A part of the training with its own mixture, length and schedule.

    Args:
        name: Of its folder.
        length: Longest row, tokens.
        tokens: To train on.
        weights: Name of a source to its share of the tokens, any unit.
        args: Node of TRL's `SFTConfig`.
        rope_theta: Base of the rotary embeddings from here on; None leaves it.
        repeat: Whether sources that are short of tokens come again.
    """

    name: str
    length: int
    tokens: int
    weights: dict[str, float]
    args: dict[str, Any]
    rope_theta: float | None = None
    repeat: bool = False


def pretrain(
    config: dict[str, Any],
    run_dir: Path,
    sources: dict[str, Any],
    phases: dict[str, Any],
    held_out: float = 0.02,
    new: dict[str, Any] | None = None,
) -> None:
    """Train a language model on documents by TRL's `SFTTrainer`, phase after phase.

    A run that was stopped goes on with the phase that it was in, from its last checkpoint if it has one.

    Args:
        config: The resolved config; `model` is trained unless `new` is given.
        run_dir: The run's folder; takes the model of each phase, and the last one as the run's.
        sources: Name of a source to `documents`, a node that gives texts, and `full`, whether each row is one long
            document (full attention) in place of several packed ones (partial attention); or None to leave it out.
        phases: Name of a phase to the rest of `Phase`, in the order of the training.
        held_out: Share of the documents, chosen by a hash of their text, on which the loss is measured.
        new: Of a new model: `vocab_size`, and `hidden_size`, `layers` and `heads` of `models.new_model.new_llama`.

    Raises:
        ValueError: If a phase or a source is wrong, before any model is loaded.
    """
    quiet()
    if wants_fsdp():
        raise ValueError("backend=fsdp is not written for this stage; take backend=accelerate.")
    if new is None and config["model"].get("lora") is not None:
        raise ValueError("model.lora must be null for this stage, which trains whole models; set model.lora=null.")
    set_up_devices()
    planned = [_phase(name, node) for name, node in phases.items()]
    _check(planned, sources, held_out)
    _check_new(new)
    texts = {name: build(source["documents"]) for name, source in sources.items() if source is not None}
    _check_texts(texts)
    tokenizer = _tokenizer(config, new, texts)
    plan = _Plan(config["seed"], sources, texts, tokenizer, held_out, planned)
    if is_first_rank():
        plan.tell()
    start = _start(config, run_dir, new, tokenizer, planned[0].length)
    for phase, rows, measured in zip(planned, plan.rows, plan.held_out, strict=True):
        place = run_dir / PHASES / phase.name
        if not (place / folder.MODEL).exists():
            _train(config, phase, rows, measured, start, tokenizer, place)
        start = place / folder.MODEL
    if is_first_rank():
        _finish(run_dir, planned, start)


def _phase(name: str, node: Mapping[str, Any]) -> Phase:
    fields = {"name": name, **node}
    missing = [field for field in ("length", "tokens", "weights", "args") if field not in fields]
    unknown = [field for field in fields if field not in Phase.__dataclass_fields__]
    if missing or unknown:
        raise ValueError(
            f"stage.phases.{name} must have length, tokens, weights and args, and may have rope_theta and repeat; "
            f"{'missing' if missing else 'unknown'}: {', '.join(missing or unknown)}."
        )
    return Phase(**fields)


def _check(phases: list[Phase], sources: Mapping[str, Any], held_out: float) -> None:
    if not phases:
        raise ValueError("stage.phases must have a phase, got none; add one.")
    if not 0 < held_out < 1:
        raise ValueError(f"stage.held_out must be a share between 0 and 1, got {held_out}; set 0.02, say.")
    for phase in phases:
        where = f"stage.phases.{phase.name}"
        for field in ("length", "tokens"):
            value = getattr(phase, field)
            if not isinstance(value, int) or value < 2:
                raise ValueError(f"{where}.{field} must be a whole number from 2, got {value!r}; set 128, say.")
        for field in _ARGS:
            if field in phase.args:
                raise ValueError(f"{where}.args.{field} is this stage's own; leave it out.")
        for name, weight in phase.weights.items():
            if not isinstance(weight, int | float):
                raise ValueError(f"{where}.weights.{name} must be a number, got {weight!r}; set 1, say.")
            if sources.get(name) is None and phase.weights[name]:
                raise ValueError(
                    f"{where}.weights.{name} must belong to a source, and there is none; add it, or set 0."
                )
    for before, after in pairwise(phases):
        if after.length < before.length:
            raise ValueError(
                f"stage.phases.{after.name}.length must be {before.length} or more, that of the phase before, got "
                f"{after.length}; lengths grow."
            )


def _check_new(new: Mapping[str, Any] | None) -> None:
    if new is None:
        return
    for name in new:
        if name not in _SIZES:
            raise ValueError(f"stage.new.{name} is no field of a new model; take {', '.join(_SIZES)}.")
    for name in _SIZES:
        if not isinstance(new.get(name), int) or new[name] < 1:
            raise ValueError(f"stage.new.{name} must be a whole number from 1, got {new.get(name)!r}; set it.")


def _check_texts(texts: Mapping[str, list[str]]) -> None:
    for name, documents in texts.items():
        if not documents or not all(isinstance(text, str) and text for text in documents):
            raise ValueError(
                f"stage.sources.{name}.documents must give texts, got none or something else; correct it."
            )


def _tokenizer(config: dict[str, Any], new: dict[str, Any] | None, texts: Mapping[str, list[str]]) -> Any:
    if new is not None:
        return train_tokenizer((text for documents in texts.values() for text in documents), new["vocab_size"])
    tokenizer = models.tokenizer_of(config["model"])
    if tokenizer is None:
        raise ValueError("model must have a tokenizer before it is made, and this one has none; set stage.new.")
    if tokenizer.eos_token_id is None:
        raise ValueError("the model's tokenizer must have an end-of-sequence token, got one without; add it.")
    return tokenizer


class _Plan:
    """The rows of each phase, and those its loss is measured on."""

    def __init__(
        self,
        seed: int,
        sources: Mapping[str, Any],
        texts: Mapping[str, list[str]],
        tokenizer: Any,
        held_out: float,
        phases: list[Phase],
    ) -> None:
        ids: dict[bool, dict[str, list[Ids]]] = {True: {}, False: {}}
        for name, documents in texts.items():
            tokens = tokenizer(documents, add_special_tokens=False)["input_ids"]
            for side in ids:
                ids[side][name] = [
                    [*each, tokenizer.eos_token_id]
                    for text, each in zip(documents, tokens, strict=True)
                    if is_held_out(text, held_out) is side
                ]
        self.phases = phases
        self.rows: list[Dataset] = []
        self.held_out: list[dict[str, Dataset]] = []
        for number, phase in enumerate(phases):
            make = {
                name: full_rows if source.get("full") else partial_rows
                for name, source in sources.items()
                if source is not None and phase.weights.get(name)
            }
            rows = {name: rows_of(ids[False][name], phase.length) for name, rows_of in make.items()}
            weights = {name: phase.weights[name] for name in make}
            try:
                self.rows.append(mix_tokens(rows, weights, phase.tokens, seed + number, phase.repeat))
            except ValueError as error:
                raise ValueError(f"stage.phases.{phase.name}: {error}") from error
            kept = {name: rows_of(ids[True][name], phase.length) for name, rows_of in make.items()}
            self.held_out.append({name: Dataset.from_list(_some(rows)) for name, rows in kept.items() if rows})

    def tell(self) -> None:
        """Say what each phase is made of."""
        for phase, rows, measured in zip(self.phases, self.rows, self.held_out, strict=True):
            batch = phase.args.get("per_device_train_batch_size", 8) * phase.args.get("gradient_accumulation_steps", 1)
            batch *= processes().num_processes
            say(
                f"{phase.name}: {phase.tokens} tokens in {len(rows)} rows of up to {phase.length}, a batch of {batch} "
                f"rows or about {batch * phase.tokens // len(rows)} tokens; loss measured on {', '.join(measured)}"
            )


def _some(rows: list[Any]) -> list[Any]:
    return rows[: max(1, _HELD_OUT_TOKENS // max(len(row["input_ids"]) for row in rows))]


def _start(config: dict[str, Any], run_dir: Path, new: dict[str, Any] | None, tokenizer: Any, length: int) -> Path:
    """Return the folder of the model that the first phase begins with."""
    if new is None:
        node = config["model"]
        if node["_target_"].endswith(".hub"):
            return Path(node["name"])
        model, _ = build(node)
    else:
        sizes = {name: value for name, value in new.items() if name != "vocab_size"}
        model = new_llama(tokenizer, length=length, seed=config["seed"], **sizes)
    place = run_dir / PHASES / "start"
    if is_first_rank() and not place.exists():
        with whole_folder(place) as half:
            model.save_pretrained(half)
            tokenizer.save_pretrained(half)
    processes().wait_for_everyone()
    return place


def _train(
    config: dict[str, Any],
    phase: Phase,
    rows: Dataset,
    measured: Mapping[str, Dataset],
    start: Path,
    tokenizer: Any,
    place: Path,
) -> None:
    set_seed(config["seed"])
    model = load_longer(start, phase.length, phase.rope_theta, dtype="float32")
    own = {"output_dir": str(place / folder.CHECKPOINTS), "seed": config["seed"], "save_strategy": "no"}
    settings: SFTConfig = build({**phase.args, **_ARGS}, **own)
    with use_documents(model):
        trainer = ResumableSFTTrainer(
            model=model, args=settings, train_dataset=rows, processing_class=tokenizer, callbacks=[RunRecorder(place)]
        )
        train(trainer, checkpoint_to_resume(place))
    trained: PreTrainedModel = trainer.accelerator.unwrap_model(trainer.model)
    losses = {f"{_LOSS}/{name}": document_loss(trained, data) for name, data in measured.items()}
    if is_first_rank():
        line = {"step": trainer.state.global_step, "iteration": 0, "seconds": round(time.time(), 2), **losses}
        append_lines(place / METRICS, [line])
        say(", ".join([f"{phase.name}: loss on held-out documents", *(f"{n} {v:.3f}" for n, v in losses.items())]))
        with whole_folder(place / folder.MODEL) as half:
            trained.save_pretrained(half)
            tokenizer.save_pretrained(half)
    trainer.accelerator.wait_for_everyone()


def _finish(run_dir: Path, phases: list[Phase], last: Path) -> None:
    """Write the figures of all phases one after the other, and the last model as the run's."""
    lines: list[dict[str, Any]] = []
    for phase in phases:
        before = lines[-1]["step"] if lines else 0
        of_phase = read_lines(run_dir / PHASES / phase.name / METRICS)
        lines += [{**line, "step": before + line["step"], "phase": phase.name} for line in of_phase]
    losses = [value for name, value in lines[-1].items() if name.startswith(_LOSS)]
    lines[-1][_LOSS] = sum(losses) / max(len(losses), 1)
    write_whole(run_dir / METRICS, "".join(json.dumps(line) + "\n" for line in lines))
    if not (run_dir / folder.MODEL).exists():
        with whole_folder(run_dir / folder.MODEL) as half:
            for file in last.iterdir():
                (half / file.name).write_bytes(file.read_bytes())
