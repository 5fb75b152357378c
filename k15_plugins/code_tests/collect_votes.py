"""The submissions run on the cases, and what they voted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from k15_plugins.code_tests.run_each import run_each
from k15_plugins.code_tests.vote import Vote, same_output
from k15_plugins.sandbox import Limits, Outcome, Program, Sandbox, Status

_ENDED = (Status.OK, Status.FAILED, Status.KILLED)


@dataclass
class Votes:
    """What came of running all submissions on all cases.

    Attributes:
        of_cases: A vote for each case.
        flaky: Places of the submissions that answered one case in two ways; they have no vote.
        statuses: How the runs ended.
    """

    of_cases: list[Vote]
    flaky: list[int] = field(default_factory=list)
    statuses: Counter[Status] = field(default_factory=Counter)

    def in_words(self) -> str:
        """Say how many runs did not end well, and how many submissions are flaky."""
        bad = [f"{number} runs {status}" for status, number in self.statuses.items() if status is not Status.OK]
        return ", ".join([*bad, *([f"{len(self.flaky)} flaky submissions"] if self.flaky else [])])


def collect_votes(
    submissions: Sequence[Program], cases: Sequence[str], limits: Limits, sandbox: Sandbox, repeats: int
) -> Votes:
    """Run each submission on each case.

    A crash or a timeout is no vote, nor is an empty output. No expected output is there yet, and none goes into a box.

    Args:
        submissions: The programs.
        cases: The inputs.
        limits: Of each run.
        sandbox: Runs them.
        repeats: The first cases, which each program answers twice, in two boxes.
    """
    votes = Votes([Vote() for _ in cases])
    calls = [{"stdin": case.encode()} for case in cases]
    for place, program in enumerate(submissions):
        outcomes = list(run_each(sandbox, program, limits, calls))
        votes.statuses.update(outcome.status for outcome in outcomes)
        # How long a program takes is the machine's doing too: a timeout is no answer that could change.
        answered = [number for number in range(min(repeats, len(calls))) if outcomes[number].status in _ENDED]
        again = list(run_each(sandbox, program, limits, (calls[number] for number in answered)))
        if any(_differ(outcomes[number], other) for number, other in zip(answered, again, strict=True)):
            votes.flaky.append(place)
            continue
        for vote, outcome in zip(votes.of_cases, outcomes, strict=True):
            if outcome.status is Status.OK and outcome.stdout.strip():
                vote.add(place, outcome.stdout)
    return votes


def _differ(one: Outcome, other: Outcome) -> bool:
    """Tell two answers to one input apart."""
    if other.status not in _ENDED:
        return False
    if one.status is Status.OK and other.status is Status.OK:
        return not same_output(one.stdout, other.stdout)
    return (one.status is Status.OK) != (other.status is Status.OK)
