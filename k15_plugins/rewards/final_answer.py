"""Final rewards as TRL reward functions: 1.0 for a right final answer, else 0.0 (section 2.3.1)."""

import logging
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from k15_plugins.extras import check_installed
from k15_plugins.rewards.answers import AFTER_ANSWER, boxed_answer, compile_pattern, final_answer, response_text
from k15_plugins.rewards.pooled_verifier import PooledVerifier

logger = logging.getLogger(__name__)

Completion = str | list[dict[str, Any]]
LogMetric = Callable[[str, float], None]


class ExactMatchReward:
    """1.0 if the final answer is the right one, letter by letter; any white space counts as one space.

    Args:
        answer_pattern: Regular expression that finds the final answer; see `rewards.answers`.

    Raises:
        ValueError: If the pattern is no regular expression.
    """

    def __init__(self, answer_pattern: str = AFTER_ANSWER) -> None:
        self.__name__ = "exact_match"
        self._pattern = compile_pattern(answer_pattern)

    def extract(self, completion: Completion) -> str | None:
        """Return the final answer of a response, or None if it gives none.

        Args:
            completion: The response, plain or as messages.
        """
        return final_answer(response_text(completion), self._pattern)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        completion_ids: Any,
        answer: list[str | int | float],
        **_: Any,
    ) -> list[float]:
        """Reward a batch, as TRL calls it.

        Args:
            prompts: Not used.
            completions: Responses, plain or as messages.
            completion_ids: Not used.
            answer: The dataset's column of right answers; a number is taken as its text.
            _: TRL's other arguments, not used.

        Returns:
            0.0 or 1.0 for each response.

        Raises:
            ValueError: If a right answer is neither text nor a number.
        """
        given = [self.extract(completion) for completion in completions]
        right = [as_text(a) for a in answer]
        return [float(g is not None and _same(g, r)) for g, r in zip(given, right, strict=True)]


def _same(given: str, right: str) -> bool:
    """Compare words; the full stop of a sentence is not part of its answer."""
    return right.split() in (given.split(), given.removesuffix(".").split())


def as_text(right: str | int | float) -> str:
    """Return a right answer as text.

    Args:
        right: From the dataset's column of right answers.

    Raises:
        ValueError: If it is neither text nor a number.
    """
    if isinstance(right, str):
        return right
    if isinstance(right, Real) and not isinstance(right, bool):
        return str(right)
    raise ValueError(f"answer must hold text or numbers, got {right!r:.100}; correct the column of right answers.")


class _VerifiedReward:
    """A final reward whose verifier runs guarded, in the workers of the pool."""

    def __init__(
        self, name: str, target: str, answer_pattern: str | None, threshold: float, timeout_seconds: float
    ) -> None:
        self.__name__ = name
        self._pattern = None if answer_pattern is None else compile_pattern(answer_pattern)
        self._threshold = threshold
        self._verifier = PooledVerifier(target, timeout_seconds)

    def extract(self, completion: Completion) -> str | None:
        """Return the final answer of a response, or None if it gives none.

        Args:
            completion: The response, plain or as messages.
        """
        text = response_text(completion)
        return boxed_answer(text) if self._pattern is None else final_answer(text, self._pattern)

    def _reward(
        self, given: list[str | None], keys: list[tuple[Any, ...]], log_metric: LogMetric | None
    ) -> list[float]:
        """Reward answers; `keys` has what the verifier needs after the answer."""
        samples = [(g, *key) for g, key in zip(given, keys, strict=True) if g is not None]
        scores, failures = self._verifier(samples)
        if failures:
            first = min(failures)
            logger.warning(
                "%s: %d of %d answers could not be verified and count as wrong; the first is %.200r: %s",
                self.__name__,
                len(failures),
                len(given),
                samples[first][0],
                failures[first],
            )
        if log_metric is not None:
            # Also when 0: TRL averages a metric over the batches that logged it.
            log_metric("k15/verifier_failures", float(len(failures)))
        remaining = iter(scores)
        return [float(g is not None and next(remaining) >= self._threshold) for g in given]


class ReasoningGymReward(_VerifiedReward):
    """1.0 if reasoning-gym's own scorer gives the final answer at least the threshold.

    Args:
        answer_pattern: Regular expression that finds the final answer; see `rewards.answers`.
        threshold: Least score of a right answer. The default is full marks: many scorers give an answer
            that only contains the right one nearly 1, so a lower threshold pays for answers with something added.
        timeout_seconds: Time limit of a sample.

    Raises:
        ModuleNotFoundError: If reasoning-gym is not installed.
        ValueError: If the pattern is no regular expression, or a number is out of its range.
    """

    def __init__(
        self, answer_pattern: str = AFTER_ANSWER, threshold: float = 1.0, timeout_seconds: float = 5.0
    ) -> None:
        check_installed("ReasoningGymReward", "reasoning_gym")
        if isinstance(threshold, bool) or not isinstance(threshold, int | float):
            raise ValueError(f"threshold must be a number above 0 and at most 1, got {threshold!r}; set 1, say.")
        if not 0 < threshold <= 1:
            raise ValueError(
                f"threshold must be above 0 and at most 1, the highest score, got {threshold}; set 1, say."
            )
        super().__init__(
            "reasoning_gym",
            "k15_plugins.rewards.score_reasoning_gym:score",
            answer_pattern,
            threshold,
            timeout_seconds,
        )

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        completion_ids: Any,
        task: list[str],
        entry: list[str],
        log_metric: LogMetric | None = None,
        **_: Any,
    ) -> list[float]:
        """Reward a batch, as TRL calls it.

        Args:
            prompts: Not used.
            completions: Responses, plain or as messages.
            completion_ids: Not used.
            task: The dataset's column of task names.
            entry: The dataset's column of entries.
            log_metric: TRL's; gets `k15/verifier_failures`, the number of failed samples.
            _: TRL's other arguments, not used.

        Returns:
            0.0 or 1.0 for each response.
        """
        given = [self.extract(completion) for completion in completions]
        return self._reward(given, list(zip(task, entry, strict=True)), log_metric)


class MathReward(_VerifiedReward):
    r"""1.0 if math-verify finds the final answer equal to the right one.

    The last `\boxed{}` counts, whatever follows it. An answer that lists alternatives (`6 \text{ or } 5`, `6 \lor 5`)
    or equates what differs (`5=6`) is wrong, and so is one of more than 1,000 characters.

    Args:
        answer_pattern: Regular expression that finds the final answer; by default the last
            `\boxed{}` is taken, with braces nested at will.
        timeout_seconds: Time limit of a sample.
        strict: For training. Where the right answer is a number, so must be the answer (`3+4` is wrong for 7,
            `14/2` too), and it may not leave a sum, an integral or the like to do: otherwise repeating the question
            pays. With False, for evaluation, the value decides, and in a response without a final answer math-verify
            looks for one by its own rules, as in published scores.

    Raises:
        ModuleNotFoundError: If math-verify is not installed.
        ValueError: If the pattern is no regular expression, `strict` is no truth value, or the time limit is out of
            its range.
    """

    def __init__(self, answer_pattern: str | None = None, timeout_seconds: float = 5.0, strict: bool = True) -> None:
        check_installed("MathReward", "math_verify")
        if not isinstance(strict, bool):
            raise ValueError(
                f"strict must be true or false, got {strict!r}; set true for training, false for evaluation."
            )
        super().__init__("math", "k15_plugins.rewards.score_math:score", answer_pattern, 1.0, timeout_seconds)
        self._strict = strict

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        completion_ids: Any,
        answer: list[str | int | float],
        log_metric: LogMetric | None = None,
        **_: Any,
    ) -> list[float]:
        """Reward a batch, as TRL calls it.

        Args:
            prompts: Not used.
            completions: Responses, plain or as messages.
            completion_ids: Not used.
            answer: The dataset's column of right answers, plain or LaTeX; a number is taken as its text.
            log_metric: TRL's; gets `k15/verifier_failures`, the number of failed samples.
            _: TRL's other arguments, not used.

        Returns:
            0.0 or 1.0 for each response.

        Raises:
            ValueError: If a right answer is neither text nor a number.
        """
        given = [self.extract(completion) for completion in completions]
        whole = [g is None and not self._strict for g in given]
        texts = [response_text(c) if w else g for c, w, g in zip(completions, whole, given, strict=True)]
        return self._reward(
            texts, [(as_text(a), self._strict, w) for a, w in zip(answer, whole, strict=True)], log_metric
        )
