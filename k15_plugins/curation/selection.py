"""Problems on their way through the filters: every one is left at the end, or dropped with a reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k15_plugins.curation.funnel import Funnel
from k15_plugins.curation.reasons import STEPS, Drop, Reason
from k15_plugins.rewards.answers import prompt_text


@dataclass(frozen=True)
class Question:
    """A problem as the filters see it.

    Attributes:
        prompt: The prompt, text or messages.
        text: Text of the prompt, without system messages.
        answer: The right answer.
        domain: Its domain.
    """

    prompt: Any
    text: str
    answer: str
    domain: str


def questions_of(rows: Mapping[str, Sequence[Any]]) -> list[Question]:
    """Return the problems of a data set; the domain is the column of that name, or else the name of the task.

    Args:
        rows: Columns `prompt`, `answer`, `task`, and perhaps `domain`.
    """
    domains = rows["domain"] if "domain" in rows else rows["task"]
    return [
        Question(prompt, text_of(prompt), answer, domain)
        for prompt, answer, domain in zip(rows["prompt"], rows["answer"], domains, strict=True)
    ]


def text_of(prompt: Any) -> str:
    """Return the text of a prompt, without system messages, which all problems of a task share.

    Args:
        prompt: Text or messages.
    """
    return prompt_text(prompt if isinstance(prompt, str) else [each for each in prompt if each["role"] != "system"])


class Selection:
    """Problems that are left, and why the others were dropped.

    Args:
        questions: All problems.
    """

    def __init__(self, questions: Sequence[Question]) -> None:
        self.questions = questions
        self.left = list(range(len(questions)))
        self.dropped: dict[int, Drop] = {}
        self._steps: list[str] = []

    def of_left(self, name: str) -> list[Any]:
        """Return a field of each problem that is left.

        Args:
            name: Of `Question`.
        """
        return [getattr(self.questions[place], name) for place in self.left]

    def apply(self, step: str, found: Mapping[int, Drop], cure: str) -> None:
        """Drop what a filter has found.

        Args:
            step: Its name in `reasons.STEPS`.
            found: Place among those that are left -> why it is dropped.
            cure: What to change if none is left.

        Raises:
            ValueError: If no problem is left.
        """
        self._steps.append(step)
        if len(found) == len(self.left):
            reasons = Counter(str(drop.reason) for drop in found.values())
            counts = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
            raise ValueError(f"the filter {step!r} must leave problems, got 0 of {len(self.left)} ({counts}); {cure}.")
        self.dropped |= {self.left[place]: drop for place, drop in found.items()}
        self.left = [row for place, row in enumerate(self.left) if place not in found]

    def funnel(self) -> Funnel:
        """Return how many problems each filter has left, and the reasons."""
        dropped = Counter(drop.reason for drop in self.dropped.values())
        return Funnel(len(self.left), dropped, {step: STEPS[step] for step in self._steps})

    def domain_table(self) -> str:
        """Return as Markdown what became of each domain: by luck alone, small answer spaces are guessed more often."""
        lines = ["| domain | problems | guessed | kept |", "|---|---|---|---|"]
        sizes = Counter(question.domain for question in self.questions)
        kept = Counter(self.of_left("domain"))
        lost = Counter(
            self.questions[row].domain for row, drop in self.dropped.items() if drop.reason is Reason.GUESSED
        )
        lines += [f"| {name} | {size} | {lost[name]} | {kept[name]} |" for name, size in sorted(sizes.items())]
        return "\n".join(lines)
