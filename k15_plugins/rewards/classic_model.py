"""The classic reward model: a value head on question, reference answer and response (paper 2.3.5)."""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from k15_plugins.numbers import check_numbers, check_whole_numbers
from k15_plugins.processes import processes
from k15_plugins.rewards.answers import prompt_text, response_text
from k15_plugins.rewards.final_answer import Completion, LogMetric, as_text
from k15_plugins.rewards.judgement import check_template, judge_prompt, says_nothing, trained_template

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


class ClassicModelReward:
    """The sigmoid of a value head's value for question, reference answer and response; or right and wrong by it.

    The model is a sequence classifier with one label, as TRL's RewardTrainer trains it on texts of `judge_prompt`.
    Like that trainer, and unlike TRL's own use of a model as a reward, this ends the text with the end-of-sequence
    token.
    A response without a letter or digit gets 0 unasked.

    Args:
        model: A sequence classifier, or its name or folder.
        tokenizer: Its tokenizer; by default that of the model's name or folder.
        threshold: Give 1.0 from this sigmoid on and 0.0 below; None for the sigmoid itself. Pairs teach the model
            differences only: 0.5 means nothing unless it was trained with `center_rewards_coefficient`.
        batch_size: Texts that are judged at once; a model without a padding token judges one at a time.
        template: What the model was trained on, see `judge_prompt`; None for what its folder says, or the default.

    Raises:
        ValueError: If an argument cannot be, or the model is no such classifier.
    """

    def __init__(
        self,
        model: "str | PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase | None" = None,
        *,
        threshold: float | None = None,
        batch_size: int = 8,
        template: str | None = None,
    ) -> None:
        check_whole_numbers(batch_size=batch_size)
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}; take 8, say.")
        if threshold is not None:
            check_numbers(threshold=threshold)
            if not 0 < threshold < 1:
                raise ValueError(f"threshold must be between 0 and 1, got {threshold}; leave it out for the sigmoid.")
        template = trained_template(model) if template is None else template
        check_template(template)
        if isinstance(model, str):
            model, tokenizer = _load(model, tokenizer)
        if tokenizer is None:
            raise ValueError("tokenizer must be that of the model, got None; give it.")
        if tokenizer.eos_token is None:
            raise ValueError("tokenizer must have an end-of-sequence token, got one without; set tokenizer.eos_token.")
        judge: Any = model
        _check_labels(judge.config)
        self.__name__ = "classic_model"
        self._model: Any = judge.to(processes().device).eval()
        self._tokenizer: Any = tokenizer
        self._threshold = threshold
        # transformers finds the end of a padded text by the model's padding token.
        self._batch_size = 1 if self._model.config.pad_token_id is None else batch_size
        self._template = template

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        completion_ids: Any,
        answer: list[str | int | float],
        log_metric: LogMetric | None = None,
        **_: Any,
    ) -> list[float | None]:
        """Score a batch, as TRL calls it.

        Args:
            prompts: Problems, plain or as messages.
            completions: Responses, plain or as messages.
            completion_ids: Not used.
            answer: The dataset's column of right answers.
            log_metric: TRL's; gets `k15/judge_failures`, the number of responses that could not be judged.
            _: TRL's other arguments, not used.

        Returns:
            A score in [0, 1] for each response; None where the model cannot judge it: the text is longer than
                the model reads, or its value is not finite.
        """
        scores: list[float | None] = [0.0] * len(completions)
        rows: list[tuple[int, list[int]]] = []
        too_long = 0
        for row, (prompt, completion, right) in enumerate(zip(prompts, completions, answer, strict=True)):
            response = response_text(completion)
            if says_nothing(response):
                continue
            ids = self._tokens(judge_prompt(prompt_text(prompt), as_text(right), response, self._template))
            if len(ids) <= self._longest():
                rows.append((row, ids))
            else:
                scores[row] = None
                too_long += 1
        rows.sort(key=lambda each: len(each[1]))  # less padding
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            for (row, _ids), value in zip(batch, self._values([ids for _, ids in batch]), strict=True):
                scores[row] = self._score(value)
        failures = scores.count(None)
        if failures:
            logger.warning(
                "classic_model: %d of %d responses could not be judged and get no reward: %d texts are longer than "
                "the %d tokens that the model reads, %d values are not finite",
                *(failures, len(scores), too_long, self._longest(), failures - too_long),
            )
        if log_metric is not None:
            log_metric("k15/judge_failures", float(failures))
        return scores

    def _tokens(self, text: str) -> list[int]:
        """Return the tokens of a text as RewardTrainer makes them."""
        end = self._tokenizer.eos_token
        return self._tokenizer(text if text.endswith(end) else text + end)["input_ids"]

    def _longest(self) -> int:
        return getattr(self._model.config, "max_position_embeddings", None) or self._tokenizer.model_max_length

    def _values(self, ids: list[list[int]]) -> list[float]:
        import torch

        longest, pad, device = max(map(len, ids)), self._model.config.pad_token_id, self._model.device
        padded_BT = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in ids], device=device)
        mask_BT = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=device)
        with torch.no_grad():
            return self._model(input_ids=padded_BT, attention_mask=mask_BT).logits[:, 0].float().tolist()

    def _score(self, value: float) -> float | None:
        if not math.isfinite(value):
            return None
        sigmoid = 1 / (1 + math.exp(-max(value, -700.0)))  # exp(710) is too large for a float
        return sigmoid if self._threshold is None else float(sigmoid >= self._threshold)


def _load(name: str, tokenizer: Any) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(name)
        tokenizer = tokenizer or AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(
            f"model must be the folder of a reward model, or its name on the Hub, got {name!r} ({first}); correct it."
        ) from error
    if not any(each.endswith("ForSequenceClassification") for each in config.architectures or []):
        # Its head would be made up at random.
        raise ValueError(
            f"model must be a sequence classifier, got {name!r} with {config.architectures}; train one by TRL's "
            "RewardTrainer, or take ChainOfThoughtReward (reward=cot_model) for it."
        )
    _check_labels(config)
    return AutoModelForSequenceClassification.from_pretrained(name), tokenizer


def _check_labels(config: Any) -> None:
    if config.num_labels != 1:
        raise ValueError(f"model must have one label, its value, got {config.num_labels}; train it with num_labels=1.")
