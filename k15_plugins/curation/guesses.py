"""Guesses without reasoning: a problem whose answer a model guesses is easy to hack (paper 2.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from k15_plugins.curation.reasons import Drop, Reason
from k15_plugins.numbers import check_numbers, check_whole_numbers
from k15_plugins.rewards.answers import response_text


@dataclass(frozen=True)
class Guess:
    """How guesses are asked for. The paper names neither the model nor the temperature.

    Args:
        model: Folder or Hub name of the model that guesses; None for the one that is trained.
        temperature: Of its sampling; 1 gives the model's own chances.
        max_completion_length: Tokens of a guess: room for an answer and for no reasoning.
        begin: For plain prompts: what the response is made to begin with.
        system: For conversations: the system message, which takes the place of the prompt's own.

    Raises:
        ValueError: If a number is out of range.
    """

    model: str | None = None
    temperature: float = 1.0
    max_completion_length: int = 8
    begin: str = "answer"
    system: str = 'Do not think or explain. Reply with "Answer:" and the final answer only.'

    def __post_init__(self) -> None:
        check_numbers(temperature=self.temperature)
        check_whole_numbers(max_completion_length=self.max_completion_length)
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}; set 1, say.")
        if self.max_completion_length < 1:
            raise ValueError(f"max_completion_length must be 1 or more, got {self.max_completion_length}; set 8, say.")

    def prompt(self, prompt: Any) -> Any:
        """Return a prompt that leaves no room for reasoning.

        Args:
            prompt: Text or messages.
        """
        if isinstance(prompt, str):
            return f"{prompt} {self.begin}"
        rest = [message for message in prompt if message["role"] != "system"]
        return [{"role": "system", "content": self.system}, *rest]

    def judged_by(self, reward_func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a reward of guesses: what the response was made to begin with belongs to it.

        Args:
            reward_func: A TRL reward function for whole responses.
        """

        def reward(completions: Sequence[Any], **batch: Any) -> Any:
            whole = [f"{self.begin} {text}" if isinstance(text, str) else text for text in completions]
            return reward_func(completions=whole, **batch)

        return reward


def guessed(sampled: Sequence[Any]) -> dict[int, Drop]:
    """Find the problems that were guessed at least once.

    Args:
        sampled: `SampledProblem`s with guesses in place of responses.

    Returns:
        Place -> why it is dropped.
    """
    found = {}
    for place, problem in enumerate(sampled):
        hits = [sample.response for sample in problem.samples if sample.right]
        if hits:
            said = response_text(hits[0]).strip()[:60]
            found[place] = Drop(Reason.GUESSED, f"{len(hits)} of {len(problem.samples)} guesses right: {said}")
    return found
