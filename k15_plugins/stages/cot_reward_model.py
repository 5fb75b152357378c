"""The chain-of-thought reward model: it reasons, then ends with a verdict in JSON (paper 2.3.5)."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset
from hydra.utils import get_object
from transformers import set_seed
from trl import SFTTrainer

from k15_plugins.curation.judgements import Judgement, Pair
from k15_plugins.curation.written_reasoning import agrees
from k15_plugins.judges.transformers_judge import TransformersJudge
from k15_plugins.processes import is_first_rank
from k15_plugins.report.recorder import RunRecorder
from k15_plugins.rewards.judgement import JUDGE_TEMPLATE, check_template, read_verdict, says_nothing
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import set_up_devices
from k15_plugins.runs.labels import say
from k15_plugins.stages.collect import Sampling, collect
from k15_plugins.stages.judged_examples import (
    both,
    build_examples,
    figures_of,
    load_model,
    prompt_of,
    save_judge,
)
from k15_plugins.stages.train import train
from k15_plugins.tasks.problems import Prompt, make_prompt

REASONING = "reasoning"
"""The folder of what a model wrote to learn from."""
_REWARD = {"verdict": {"_target_": "k15_plugins.curation.written_reasoning.agrees"}}


def cot_reward_model(
    config: dict[str, Any],
    run_dir: Path,
    args: dict[str, Any],
    rules: dict[str, Any],
    samples: str | None = None,
    responses: dict[str, Any] | None = None,
    reasoning: str | None = None,
    num_samples: int = 4,
    template: str = JUDGE_TEMPLATE,
    new_words: list[str] | None = None,
    conversational: bool = False,
    max_new_tokens: int = 512,
    batch_size: int = 64,
) -> None:
    """Train a model by TRL's `SFTTrainer` to reason about a response and to end with a verdict, and measure it.

    Args:
        config: The resolved config; `trainer.args` has the generation settings of a model that writes the reasoning.
        run_dir: The run's folder; takes the examples, the model with `judge.json`, and its held-out judgements.
        args: Node of TRL's `SFTConfig`.
        rules: Node of `curation.judgements.Rules`.
        samples: See `stages.judged_examples.build_examples`.
        responses: See `stages.judged_examples.build_examples`.
        reasoning: Dotted name of a function of `question`, `reference` and `response` that writes the reasoning with
            its verdict; by default the model of the config writes it, and what ends with the known verdict is kept.
        num_samples: So many times that model tries each response.
        template: As in `rewards.judgement.judge_prompt`.
        new_words: Words that the tokenizer may lack, for one of whole words.
        conversational: Whether the judge is asked in a conversation.
        max_new_tokens: Longest held-out judgement, tokens.
        batch_size: Judgements that are written at once.

    Raises:
        ValueError: If the responses give nothing to train or to measure on, or nothing is written with the known
            verdict.
    """
    check_template(template)
    set_up_devices()
    write = None if reasoning is None else _function(reasoning)
    examples = build_examples(config, run_dir, samples, responses, rules)
    set_seed(config["seed"])
    model, tokenizer = load_model(config, examples, template, new_words or [])
    if conversational and not tokenizer.chat_template:
        raise ValueError(
            "stage.conversational must be false for a tokenizer without a chat template, got true; leave it out."
        )
    judgements = [one for pair in examples.train for one in both(pair)]
    prompts = [make_prompt(prompt_of(one, template), None, conversational) for one in judgements]
    if write is None:
        sampling = Sampling(
            {**config, "reward": _REWARD}, run_dir, _rows(prompts, judgements), num_samples, batch_size
        )
        written = _by_model(sampling, model, tokenizer)
    else:
        written = _by_function(write, judgements)
    settings = build(args, output_dir=str(run_dir / folder.CHECKPOINTS), seed=config["seed"])
    rows = _training_rows(examples.train, prompts, written, tokenizer, settings.max_length)
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[RunRecorder(run_dir)],
    )
    train(trainer)
    judge = TransformersJudge(
        model, tokenizer, max_new_tokens=max_new_tokens, batch_size=batch_size, chat=conversational
    )
    said = _judge(judge, [one for pair in examples.held_out for one in both(pair)], template, 4 * batch_size)
    unreadable = sum(line["verdict"] is None for line in said) / len(said)
    figures = figures_of(said) | {"held_out_unreadable": unreadable}
    if is_first_rank():
        say(f"unreadable verdicts, which count as wrong ones: {unreadable:.3f}")
    reads = {"kind": "chain of thought", "template": template, "conversational": conversational}
    save_judge(run_dir, trainer, tokenizer, reads, figures, said)


def _function(name: str) -> Any:
    try:
        return get_object(name)
    except Exception as error:
        raise ValueError(
            f"stage.reasoning must be the dotted name of a function, got {name!r}, which cannot be imported; correct "
            "it, or set null to let the model write."
        ) from error


def _rows(prompts: list[Prompt], judgements: list[Judgement]) -> Dataset:
    columns = {"reference": [one.reference for one in judgements], "correct": [one.correct for one in judgements]}
    return Dataset.from_dict({"prompt": prompts, **columns})


def _by_function(write: Any, judgements: Sequence[Judgement]) -> list[str | None]:
    texts = [write(one.question, one.reference, one.response) for one in judgements]
    right = agrees(texts, [one.reference for one in judgements], [one.correct for one in judgements])
    return [text if agreed else None for text, agreed in zip(texts, right, strict=True)]


def _by_model(sampling: Sampling, model: Any, tokenizer: Any) -> list[str | None]:
    sampled = collect(sampling, model, tokenizer, sampling.run_dir / REASONING)
    if any(problem.prompt != prompt for problem, prompt in zip(sampled, sampling.problems["prompt"], strict=True)):
        raise ValueError(
            f"{sampling.run_dir / REASONING} holds reasoning about other responses than these; start a new run."
        )
    return [next((sample.response.strip() for sample in problem.samples if sample.right), None) for problem in sampled]


def _training_rows(
    pairs: list[Pair], prompts: list[Prompt], written: list[str | None], tokenizer: Any, max_length: int | None
) -> Dataset:
    """Return the rows of those pairs of which both judgements were written with the known verdict, and fit."""
    whole = [(row, row + 1) for row in range(0, len(prompts), 2) if written[row] and written[row + 1]]
    texts = {row: str(written[row]) for pair in whole for row in pair}
    rows, lengths = _tokenized(texts, prompts, tokenizer) if texts else ({}, {})
    fitting = [pair for pair in whole if max_length is None or max(lengths[row] for row in pair) <= max_length]
    if is_first_rank():
        _tell(len(pairs), len(whole), len(fitting), max_length)
    if not fitting:
        raise ValueError(
            f"no reasoning ends with the known verdict within {max_length} tokens for both responses of a pair, among "
            f"{len(pairs)}; take a model that can judge, more stage.num_samples, or a larger stage.args.max_length."
        )
    return Dataset.from_list([rows[row] for pair in fitting for row in pair])


def _tokenized(
    texts: dict[int, str], prompts: list[Prompt], tokenizer: Any
) -> tuple[dict[int, dict[str, Any]], dict[int, int]]:
    """Return the trainer's row of each judgement, and its length in tokens."""
    if not isinstance(prompts[0], str):
        chats = {row: [*prompts[row], {"role": "assistant", "content": text}] for row, text in texts.items()}
        ids = tokenizer.apply_chat_template(list(chats.values()), tokenize=True, return_dict=True)["input_ids"]
        rows = {row: {"prompt": chat[:-1], "completion": chat[-1:]} for row, chat in chats.items()}
        return rows, dict(zip(texts, map(len, ids), strict=True))
    # All at once, for the trainer tokenizes row by row; and the prompt by itself, as the served judge has it.
    of_prompts = tokenizer([prompts[row] for row in texts])["input_ids"]
    ends = [f"\n{text}{tokenizer.eos_token}" for text in texts.values()]
    of_texts = tokenizer(ends, add_special_tokens=False)["input_ids"]
    rows = {
        row: {"input_ids": before + after, "labels": [-100] * len(before) + after}
        for row, before, after in zip(texts, of_prompts, of_texts, strict=True)
    }
    return rows, {row: len(each["input_ids"]) for row, each in rows.items()}


def _tell(pairs: int, whole: int, fitting: int, max_length: int | None) -> None:
    if whole < pairs:
        say(f"left out {pairs - whole} pairs: no reasoning of one of the two ends with the known verdict")
    if fitting < whole:
        say(f"left out {whole - fitting} pairs: longer than stage.args.max_length={max_length}")


def _judge(
    judge: TransformersJudge, judgements: Sequence[Judgement], template: str, size: int
) -> list[dict[str, Any]]:
    """Return what the judge says of each response, as it is served: what says nothing is wrong, unread."""
    said: list[dict[str, Any]] = []
    for start in range(0, len(judgements), size):
        batch = judgements[start : start + size]
        texts = judge.write([prompt_of(one, template) for one in batch])
        for one, text in zip(batch, texts, strict=True):
            verdict = None if text is None else read_verdict(text, one.reference)
            said.append(asdict(one) | {"text": text, "verdict": False if says_nothing(one.response) else verdict})
        if is_first_rank():
            say(f"judged {len(said)}/{len(judgements)} held-out responses")
    return said
