"""The reward of programs: 1.0 for one that passes all tests (paper 2.3.1, 2.3.5)."""

import functools
import logging
from collections.abc import Sequence
from typing import Any

from k15_plugins.rewards.answers import response_text
from k15_plugins.rewards.code_block import code_block
from k15_plugins.rewards.final_answer import Completion, LogMetric
from k15_plugins.rewards.judge_program import judge
from k15_plugins.sandbox import BwrapSandbox, Sandbox, pool
from k15_plugins.tasks.code_places import Place

logger = logging.getLogger(__name__)


class CodeReward:
    """1.0 if the program of a response passes all tests of its problem, else 0.0; None if that cannot be told.

    The program is the last closed block of code after the thinking; a response without one gets 0.0, and so does a
    program that crashes, is not compiled or exceeds its limits. None is for failures of the verifier alone. TRL leaves
    a rollout without any reward out of the loss; beside a second reward function None counts as 0.

    Args:
        sandbox: Runs the programs; None for `BwrapSandbox()`.
        max_tests: Take only so many tests of a problem, those with the largest inputs; None for all.
        share: Give the share of passed tests instead.

    Raises:
        SandboxUnavailable: If this machine gives no isolation.
        ValueError: If an argument cannot be.
    """

    def __init__(self, sandbox: Sandbox | None = None, max_tests: int | None = None, share: bool = False) -> None:
        if max_tests is not None and (isinstance(max_tests, bool) or not isinstance(max_tests, int) or max_tests < 1):
            raise ValueError(f"max_tests must be a whole number from 1, or None for all tests, got {max_tests!r}.")
        if not isinstance(share, bool):
            raise ValueError(f"share must be True or False, got {share!r:.100}; leave it out for all or nothing.")
        if isinstance(sandbox, str):
            raise ValueError(f"sandbox must be an object, got {sandbox!r:.100}; give BwrapSandbox(), say.")
        self.__name__ = "code"
        self.sandbox = BwrapSandbox() if sandbox is None else sandbox
        self._max_tests = max_tests
        self._share = share

    def extract(self, completion: Completion, language: str = "python") -> str | None:
        """Return the program of a response, or None if it has none.

        Args:
            completion: The response, plain or as messages.
            language: "python" or "cpp".
        """
        return code_block(response_text(completion), language)

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        completion_ids: Any,
        problem: list[str],
        log_metric: LogMetric | None = None,
        **_: Any,
    ) -> list[float | None]:
        """Reward a batch, as TRL calls it; equal programs for one problem are run once.

        Args:
            prompts: Not used.
            completions: Responses, plain or as messages.
            completion_ids: Not used.
            problem: The data set's column of places, see `tasks.code_places`.
            log_metric: TRL's; gets `k15/verifier_failures`, the number of programs that could not be judged, and
                `k15/no_program`, the share of responses without one.
            _: TRL's other arguments, not used.

        Returns:
            A reward in [0, 1] or None for each response.
        """
        programs = [
            self.extract(completion, Place.load(place).language)
            for completion, place in zip(completions, problem, strict=True)
        ]
        samples = [(p, place) for p, place in zip(programs, problem, strict=True) if p is not None]
        distinct = list(dict.fromkeys(samples))
        one = functools.partial(judge, sandbox=self.sandbox, max_tests=self._max_tests, all_or_nothing=not self._share)
        verdicts = pool.map(one, distinct)
        found = dict(zip(distinct, verdicts, strict=True))
        failures = [verdict for verdict in found.values() if isinstance(verdict, pool.Failed)]
        if failures:
            logger.warning("code: %d programs could not be judged; the first: %s", len(failures), failures[0])
        if log_metric is not None:
            log_metric(
                "k15/verifier_failures", float(sum(isinstance(found[sample], pool.Failed) for sample in samples))
            )
            log_metric("k15/no_program", 1 - len(samples) / len(programs))
        rewards: list[float | None] = []
        for program, place in zip(programs, problem, strict=True):
            verdict = 0.0 if program is None else found[program, place]
            rewards.append(None if isinstance(verdict, pool.Failed) else verdict)
        return rewards
