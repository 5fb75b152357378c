"""The classic reward model: a value head on question, reference and response (paper 2.3.5)."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import set_seed
from trl import RewardTrainer

from k15_plugins.curation.judgements import Pair
from k15_plugins.models.value_head import with_value_head
from k15_plugins.processes import is_first_rank
from k15_plugins.report.recorder import RunRecorder
from k15_plugins.rewards.classic_model import ClassicModelReward
from k15_plugins.rewards.judgement import JUDGE_TEMPLATE, check_template
from k15_plugins.runs import folder
from k15_plugins.runs.build import build
from k15_plugins.runs.devices import set_up_devices
from k15_plugins.runs.labels import say
from k15_plugins.stages.judged_examples import (
    both,
    build_examples,
    figures_of,
    load_model,
    prompt_of,
    save_judge,
)
from k15_plugins.stages.train import train

CALIBRATION_PAIRS = 1000
"""Training pairs that the threshold is chosen on."""


def reward_model(
    config: dict[str, Any],
    run_dir: Path,
    args: dict[str, Any],
    rules: dict[str, Any],
    samples: str | None = None,
    responses: dict[str, Any] | None = None,
    template: str = JUDGE_TEMPLATE,
    new_words: list[str] | None = None,
    batch_size: int = 64,
) -> None:
    """Train a value head by TRL's `RewardTrainer` on pairs of a right and a wrong response, and measure it.

    Args:
        config: The resolved config.
        run_dir: The run's folder; takes the examples, the model with `judge.json`, and its held-out judgements.
        args: Node of TRL's `RewardConfig`.
        rules: Node of `curation.judgements.Rules`.
        samples: See `stages.judged_examples.build_examples`.
        responses: See `stages.judged_examples.build_examples`.
        template: As in `rewards.judgement.judge_prompt`.
        new_words: Words that the tokenizer may lack, for one of whole words.
        batch_size: Responses that are scored at once.

    Raises:
        ValueError: If the responses give nothing to train or to measure on.
    """
    check_template(template)
    set_up_devices()
    examples = build_examples(config, run_dir, samples, responses, rules)
    set_seed(config["seed"])
    model, tokenizer = load_model(config, examples, template, new_words or [])
    classifier = with_value_head(model)
    settings = build(args, output_dir=str(run_dir / folder.CHECKPOINTS), seed=config["seed"])
    rows = [
        {"chosen_ids": chosen, "rejected_ids": rejected}
        for chosen, rejected in _ids_of(examples.train, tokenizer, template)
        if settings.max_length is None or max(len(chosen), len(rejected)) <= settings.max_length
    ]
    if is_first_rank() and len(rows) < len(examples.train):
        say(
            f"left out {len(examples.train) - len(rows)} pairs: longer than "
            f"stage.args.max_length={settings.max_length}"
        )
    if not rows:
        raise ValueError(f"stage.args.max_length={settings.max_length} is shorter than every pair; raise it.")
    trainer = RewardTrainer(
        model=classifier,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[RunRecorder(run_dir)],
    )
    train(trainer)

    served = ClassicModelReward(classifier, tokenizer, batch_size=batch_size, template=template)
    if is_first_rank():
        say(f"measuring on {2 * len(examples.held_out)} held-out judgements")
    threshold, train_accuracy = best_threshold(*_scores(served, examples.train[:CALIBRATION_PAIRS]))
    right, wrong = _scores(served, examples.held_out)
    said = [
        asdict(one) | {"score": score, "verdict": score >= threshold}
        for pair, scores in zip(examples.held_out, zip(right, wrong, strict=True), strict=True)
        for one, score in zip(both(pair), scores, strict=True)
    ]
    figures = figures_of(said) | {
        "held_out_ordered": float(np.mean(np.array(right) > np.array(wrong))),
        "train_accuracy": train_accuracy,
        "threshold": threshold,
    }
    save_judge(run_dir, trainer, tokenizer, {"kind": "classic", "template": template}, figures, said)


def _ids_of(pairs: Sequence[Pair], tokenizer: Any, template: str) -> list[tuple[list[int], list[int]]]:
    """Return the tokens of both sides of each pair as `RewardTrainer` makes them itself, but row by row."""
    texts = [prompt_of(one, template) + tokenizer.eos_token for pair in pairs for one in both(pair)]
    ids = tokenizer(texts)["input_ids"]
    return list(zip(ids[::2], ids[1::2], strict=True))


def _scores(served: ClassicModelReward, pairs: Sequence[Pair]) -> list[list[float]]:
    """Return the scores of the right and of the wrong responses, as they are served; 0 for what cannot be judged."""
    found = []
    for side in zip(*map(both, pairs), strict=True):
        questions, answers = [one.question for one in side], [one.reference for one in side]
        scores = served(questions, [one.response for one in side], None, answers)
        found.append([score or 0.0 for score in scores])
    return found


def best_threshold(right: Sequence[float], wrong: Sequence[float]) -> tuple[float, float]:
    """Choose the score from which on a response counts as right.

    Args:
        right: Scores of right responses, from 0 to 1.
        wrong: Scores of as many wrong ones.

    Returns:
        The threshold, in the middle of two scores that follow each other, and the share of right verdicts with it.
    """
    scores = np.array([*right, *wrong])
    order = np.argsort(-scores, kind="stable")
    is_right = np.array([1] * len(right) + [0] * len(wrong))[order]
    # With the highest n scores counted as right, for each n from 1.
    verdicts = np.cumsum(is_right) + (len(wrong) - np.cumsum(1 - is_right))
    ends = np.append(scores[order][1:], -np.inf)
    verdicts = np.where(ends < scores[order], verdicts, -1)  # equal scores have one verdict
    best = int(np.argmax(verdicts))
    below = ends[best] if np.isfinite(ends[best]) else scores[order][best]
    return float((scores[order][best] + below) / 2), float(verdicts[best] / len(scores))
