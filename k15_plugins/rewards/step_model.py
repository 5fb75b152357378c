"""A process reward from a step reward model: a token classifier that judges each step at its end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from k15_plugins.numbers import check_whole_numbers
from k15_plugins.rewards.answers import AFTER_ANSWER, compile_pattern, final_answer, prompt_text, response_text
from k15_plugins.rewards.final_answer import Completion

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class StepModelReward:
    """The probability that the worst step of a response is right, as a step reward model (PRM) sees it.

    The steps of a response are what stands between separators, the final answer among them. The model reads the
    prompt and then each step with the separator behind it, the form that TRL's PRMTrainer trained on, and is asked at
    each separator. The minimum cannot be raised by writing more steps, where a sum or a mean can. A response without
    steps scores 0, and so does one without a final answer: otherwise it would pay to stop after a first safe step.

    Args:
        model: A token-classification model, or its name or folder.
        tokenizer: Its tokenizer; by default that of the model's name or folder.
        step_separator: Text between steps, which is also what the model is asked at.
        good_label: Index of the label that stands for a right step.
        answer_pattern: Regular expression that finds the final answer; see `rewards.answers`.
        batch_size: Responses that are judged at once.

    Raises:
        ValueError: If a model has no tokenizer beside it or no such label, or the separator is empty.
    """

    def __init__(
        self,
        model: "str | PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase | None" = None,
        *,
        step_separator: str = "\n",
        good_label: int = 1,
        answer_pattern: str = AFTER_ANSWER,
        batch_size: int = 8,
    ) -> None:
        from accelerate import PartialState
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        check_whole_numbers(good_label=good_label, batch_size=batch_size)
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}; take 8, say.")
        if not step_separator:
            raise ValueError(f"step_separator must be text, got {step_separator!r}; give what stands between steps.")
        if isinstance(model, str):
            tokenizer = tokenizer or AutoTokenizer.from_pretrained(model)
            model = AutoModelForTokenClassification.from_pretrained(model)
        if tokenizer is None:
            raise ValueError("tokenizer must be that of the model, got None; give it.")
        judge: Any = model
        if not 0 <= good_label < judge.config.num_labels:
            raise ValueError(
                f"good_label must be one of the model's {judge.config.num_labels} labels, got {good_label}; give the "
                "index of right steps."
            )
        self.__name__ = "step_model"
        self._model: Any = judge.to(PartialState().device).eval()
        self._tokenizer: Any = tokenizer
        self._separator = step_separator
        self._good_label = good_label
        self._pattern = compile_pattern(answer_pattern)
        self._batch_size = batch_size

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **_: Any) -> list[float | None]:
        """Score a batch, as TRL calls it.

        Args:
            prompts: Problems, plain or as messages, whose texts are then joined by line ends.
            completions: Responses, plain or as messages.
            _: TRL's other arguments, not used.

        Returns:
            A score in [0, 1] for each response; None where the model cannot judge it: it is longer than the model
                reads, or the model's output is not finite.
        """
        scores: list[float | None] = [0.0] * len(completions)
        rows: list[tuple[int, list[int], list[int]]] = []
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            text = response_text(completion)
            steps = [step.strip() for step in text.split(self._separator) if step.strip()]
            if not steps or final_answer(text, self._pattern) is None:
                continue
            ids, ends = self._tokens(prompt_text(prompt), steps)
            if len(ids) > self._longest():
                scores[row] = None
            else:
                rows.append((row, ids, ends))
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            worst = self._worst([ids for row, ids, ends in batch], [ends for row, ids, ends in batch])
            for (row, _ids, _ends), score in zip(batch, worst, strict=True):
                scores[row] = score
        return scores

    def _tokens(self, prompt: str, steps: list[str]) -> tuple[list[int], list[int]]:
        """Return the tokens of a prompt with the steps, and where each step ends."""

        def tokens(text: str) -> list[int]:
            return self._tokenizer(text, add_special_tokens=False)["input_ids"]

        bos = self._tokenizer.bos_token_id
        ids = tokens(prompt) if bos is None else [bos, *tokens(prompt)]
        separator = tokens(self._separator)
        ends = []
        for step in steps:
            ids = [*ids, *tokens(step), *separator]
            ends.append(len(ids) - 1)
        return ids, ends

    def _longest(self) -> int:
        return getattr(self._model.config, "max_position_embeddings", None) or self._tokenizer.model_max_length

    def _worst(self, ids: list[list[int]], ends: list[list[int]]) -> list[float | None]:
        import torch

        longest, device = max(map(len, ids)), self._model.device
        padded_BT = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids], device=device)
        mask_BT = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=device)
        with torch.no_grad():
            logits_BTL = self._model(input_ids=padded_BT, attention_mask=mask_BT).logits
        good_BT = logits_BTL.float().softmax(dim=-1)[..., self._good_label]
        worst = [good_BT[row, places].min() for row, places in enumerate(ends)]
        return [score.item() if score.isfinite() else None for score in worst]
