"""The reward model with a chain of thought: it reasons in writing and ends with a verdict in JSON (paper 2.3.5)."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from k15_plugins.numbers import check_whole_numbers
from k15_plugins.rewards.answers import prompt_text, response_text
from k15_plugins.rewards.final_answer import Completion, LogMetric, as_text
from k15_plugins.rewards.judge_cache import JudgeCache
from k15_plugins.rewards.judgement import JUDGE_TEMPLATE, check_template, judge_prompt, read_verdict, says_nothing

logger = logging.getLogger(__name__)


class Judge(Protocol):
    """What writes judgements: `TransformersJudge`, `VllmJudge`, `ServerJudge`, or an object of yours.

    Attributes:
        identity: Which model writes, and how. Texts in a cache count for a judge of the same identity only.
    """

    identity: str

    def write(self, prompts: list[str]) -> list[str | None]:
        """Continue prompts, always in the same way.

        Args:
            prompts: Texts of `judge_prompt`.

        Returns:
            For each what was written, without the prompt; None where the judge failed.
        """
        ...


class ChainOfThoughtReward:
    """1.0 if a judge, after reasoning in writing, finds the final answer right, else 0.0; None if the judge failed.

    What it wrote is read by `read_verdict`, strictly. Text without a verdict in form is worth 0.0 and counted: were it
    None, TRL would leave the response out, and writing what confuses the judge would be a way out of a 0. Only a judge
    that did not answer at all gives None. A response without a letter or digit gets 0.0 unasked.

    Args:
        judge: Writes the judgements.
        rule: A reward function that is asked first. Its 1.0 is final, and spares the judge. With less, or None, the
            judge is asked, since rules miss right answers in other forms.
        template: What the judge was trained on, see `judge_prompt`; None for what a judge with a `template` says of
            itself, or the default.
        cache_size: Judgements kept in memory.
        cache_path: JSONL file that keeps them across runs; several processes may share it.

    Raises:
        ValueError: If an argument cannot be.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        rule: Callable[..., Any] | None = None,
        template: str | None = None,
        cache_size: int = 10_000,
        cache_path: str | None = None,
    ) -> None:
        if not callable(getattr(judge, "write", None)):
            raise ValueError(f"judge must have a method write, got {judge!r:.100}; give a TransformersJudge, say.")
        if rule is not None and not callable(rule):
            raise ValueError(f"rule must be a reward function, got {rule!r:.100}; give MathReward(), say.")
        template = getattr(judge, "template", JUDGE_TEMPLATE) if template is None else template
        check_template(template)
        check_whole_numbers(cache_size=cache_size)
        if cache_size < 0:
            raise ValueError(f"cache_size must be 0 or more, got {cache_size}; take 0 to keep none in memory.")
        self.__name__ = "chain_of_thought"
        self._judge = judge
        self._rule = rule
        self._template = template
        path = None if cache_path is None else Path(cache_path)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._cache = JudgeCache(judge.identity, cache_size, path)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        completion_ids: Any,
        answer: list[str | int | float],
        log_metric: LogMetric | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Reward a batch, as TRL calls it; equal questions to the judge are asked once.

        Args:
            prompts: Problems, plain or as messages.
            completions: Responses, plain or as messages.
            completion_ids: For the rule.
            answer: The dataset's column of right answers.
            log_metric: TRL's; gets `k15/judge_failures`, the number of responses that got no judgement,
                `k15/judged`, the share of responses that the judge decided, and `k15/unreadable_verdicts`, the share
                of its judgements that are not in form.
            columns: TRL's other arguments, for the rule.

        Returns:
            0.0, 1.0 or None for each response.
        """
        rewards: list[float | None] = [0.0] * len(completions)
        if self._rule is not None:
            given = {"completion_ids": completion_ids, "answer": answer, "log_metric": log_metric, **columns}
            found = self._rule(prompts=prompts, completions=completions, **given)
            rewards = [float(each is not None and each >= 1.0) for each in found]
        asked: dict[int, str] = {}
        for row, (prompt, completion, right) in enumerate(zip(prompts, completions, answer, strict=True)):
            response = response_text(completion)
            if not rewards[row] and not says_nothing(response):
                asked[row] = judge_prompt(prompt_text(prompt), as_text(right), response, self._template)
        written = self._write(list(dict.fromkeys(asked.values())))
        failures, unreadable = 0, 0
        for row, text in asked.items():
            judgement = written[text]
            if judgement is None:
                rewards[row] = None
                failures += 1
                continue
            verdict = read_verdict(judgement, as_text(answer[row]))
            rewards[row] = float(verdict is True)
            unreadable += verdict is None
        if unreadable and unreadable == len(asked) - failures:
            logger.warning(
                "chain_of_thought: none of %d judgements ends with a verdict in form, so all count as wrong: give the "
                "judge the template and the chat setting that it was trained with, and room to finish",
                unreadable,
            )
        if log_metric is not None:
            log_metric("k15/judge_failures", float(failures))
            log_metric("k15/judged", (len(asked) - failures) / max(1, len(rewards)))
            log_metric("k15/unreadable_verdicts", unreadable / max(1, len(asked) - failures))
        return rewards

    def _write(self, prompts: list[str]) -> dict[str, str | None]:
        """Return what the judge writes, or has written, for distinct prompts."""
        written = {prompt: self._cache.get(prompt) for prompt in prompts}
        new = [prompt for prompt, text in written.items() if text is None]
        answers = dict(zip(new, self._judge.write(new), strict=True)) if new else {}
        self._cache.put({prompt: text for prompt, text in answers.items() if text is not None})
        return written | answers
