"""Verification by all workers of the pool, each with a guarded verifier of its own and a few samples at a time."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from k15_plugins.rewards.verify import GuardedVerifier, Verdicts
from k15_plugins.sandbox import pool

# A chunk goes to one worker: few samples, because those behind one that hangs wait for it, and of one problem where
# that is possible, because a worker prepares for a problem once.
_LARGEST_CHUNK = 8
_CHUNKS_OF_A_WORKER = 4


class _NotLoaded(str):
    """Instead of verdicts: why the function, or the process for it, cannot be had."""


class PooledVerifier:
    """Calls a function on samples in the pool's workers, in a fork for each sample, under a time limit.

    Verdicts are those of `GuardedVerifier`, which runs the samples in each worker; with one worker, in this process. A
    sample that ends its worker too costs itself only. A pickled or forked copy uses the pool of its own process.

    Args:
        target: The function as "module:name", see `GuardedVerifier`.
        timeout_seconds: Time limit of a sample, see `GuardedVerifier`.

    Raises:
        ValueError: If the time limit is no number above 0, or more than an hour.
    """

    def __init__(self, target: str, timeout_seconds: float = 5.0) -> None:
        GuardedVerifier(target, timeout_seconds)  # starts nothing, and refuses what it must
        self.target = target
        self.timeout_seconds = timeout_seconds
        self._has_run = False

    def __call__(self, samples: Sequence[tuple[Any, ...]]) -> Verdicts:
        """Verify a batch; equal samples are verified once.

        Args:
            samples: Arguments of the function, one tuple a sample, the answer first and then what belongs
                to the problem; they must be picklable and hashable.

        Returns:
            Scores and failures.

        Raises:
            RuntimeError: If the function cannot be loaded.
        """
        outcomes: dict[tuple[Any, ...], float | str] = {}
        chunks = _chunks(samples, pool.workers())
        for chunk, result in zip(chunks, self._run(chunks), strict=True):
            if isinstance(result, pool.Failed) and len(chunk) > 1:  # one of them ended the worker
                for sample, alone in zip(chunk, self._run([[sample] for sample in chunk]), strict=True):
                    outcomes |= self._outcomes([sample], alone)
            else:
                outcomes |= self._outcomes(chunk, result)
        found = [outcomes[sample] for sample in samples]
        return Verdicts(
            [0.0 if isinstance(outcome, str) else outcome for outcome in found],
            {index: outcome for index, outcome in enumerate(found) if isinstance(outcome, str)},
        )

    def _run(self, chunks: list[list[tuple[Any, ...]]]) -> list[Any]:
        return pool.map(_verify, [(self.target, self.timeout_seconds, chunk) for chunk in chunks])

    def _outcomes(self, chunk: list[tuple[Any, ...]], result: Any) -> dict[tuple[Any, ...], float | str]:
        """Return a score or an error text for each sample of a chunk."""
        if isinstance(result, _NotLoaded) and not self._has_run:  # the function or the installation is wrong
            raise RuntimeError(result)
        if isinstance(result, str):
            return dict.fromkeys(chunk, str(result))
        self._has_run = True
        return {sample: result.failures.get(n, result.scores[n]) for n, sample in enumerate(chunk)}


def _chunks(samples: Sequence[tuple[Any, ...]], workers: int) -> list[list[tuple[Any, ...]]]:
    problems: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for sample in dict.fromkeys(samples):
        problems.setdefault(sample[1:], []).append(sample)
    ordered = [sample for group in problems.values() for sample in group]
    size = max(1, min(_LARGEST_CHUNK, len(ordered) // (_CHUNKS_OF_A_WORKER * workers)))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _verify(work: tuple[str, float, list[tuple[Any, ...]]]) -> Verdicts | _NotLoaded:
    """What a worker does with a chunk."""
    target, timeout_seconds, samples = work
    try:
        return _verifier(target, timeout_seconds)(samples)
    except (RuntimeError, OSError) as error:
        return _NotLoaded(error)


@lru_cache(maxsize=8)
def _verifier(target: str, timeout_seconds: float) -> GuardedVerifier:
    return GuardedVerifier(target, timeout_seconds)
