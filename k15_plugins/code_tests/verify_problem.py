"""From a problem without tests to one with tests, or to the reason why not."""

import hashlib
from collections import Counter
from importlib.metadata import version
from typing import Any

from k15_plugins.code_tests.collect_votes import Votes, collect_votes
from k15_plugins.code_tests.generate_cases import Generated, Trouble, generate_cases
from k15_plugins.code_tests.reasons import Dropped, Reason
from k15_plugins.code_tests.rules import Rules
from k15_plugins.code_tests.special_judge import DISTINCT, special_judge_words
from k15_plugins.code_tests.untested import UntestedProblem
from k15_plugins.code_tests.vote import CHECKER
from k15_plugins.sandbox import Limits, Sandbox

_REASON_OF = {
    Trouble.FAILED: Reason.GENERATOR_FAILED,
    Trouble.TIMEOUT: Reason.GENERATOR_FAILED,
    Trouble.DIFFERENT: Reason.GENERATOR_NOT_DETERMINISTIC,
    Trouble.EMPTY: Reason.GENERATOR_REPEATS,
    Trouble.REPEATED: Reason.GENERATOR_REPEATS,
}


def check_candidate(problem: UntestedProblem, rules: Rules) -> None:
    """Drop a problem that needs no generator to be dropped.

    Args:
        problem: The problem.
        rules: How many submissions it needs.

    Raises:
        Dropped: If it has too few submissions, or its statement tells of a special judge.
    """
    needed = 2 if rules.fewer_submissions else rules.submissions
    if len(problem.submissions) < needed:
        raise Dropped(
            Reason.TOO_FEW_SUBMISSIONS, f"{len(problem.submissions)} different submissions, {needed} are needed"
        )
    words = special_judge_words(problem.prompt)
    if words is not None:
        raise Dropped(Reason.SPECIAL_JUDGE_IN_STATEMENT, f"the statement says {words!r}")


def verify_problem(
    problem: UntestedProblem, generator: str | None, sandbox: Sandbox, rules: Rules, seed: int = 0
) -> dict[str, Any]:
    """Write tests for a problem (paper 2.3.5).

    A case is valid if enough submissions write the same for it, which is its output; the problem is kept if enough
    cases are valid, and enough submissions pass all of these.

    Args:
        problem: The problem.
        generator: Source of the program that writes inputs, if there is one.
        sandbox: Runs it, and the submissions.
        rules: The numbers.
        seed: Of the choice among more submissions than are needed.

    Returns:
        A row of our own schema, see `tasks.code_schemas.own`.

    Raises:
        Dropped: With the reason why it is not kept.
    """
    check_candidate(problem, rules)
    if generator is None:
        raise Dropped(Reason.NO_GENERATOR, "neither the row nor the model's response has one")
    made = generate_cases(generator, sandbox, rules)
    if len(made.cases) < rules.min_valid:
        # Of some troubles the one that cost most cases names the reason.
        trouble = made.troubles.most_common(1)[0][0] if made.troubles.total() else Trouble.REPEATED
        raise Dropped(_REASON_OF[trouble], made.in_words())
    submissions = problem.chosen_submissions(rules.submissions, seed)
    limits = Limits(cpu_seconds=problem.cpu_seconds, memory_bytes=problem.memory_mb << 20)
    votes = collect_votes(submissions, made.cases, limits, sandbox, rules.repeats)
    agree, passing = rules.of(rules.agree, len(submissions)), rules.of(rules.passing, len(submissions))
    valid = _valid_cases(made.cases, votes, agree, rules, len(submissions))
    passed = [place for place in range(len(submissions)) if all(place in voters for _, _, voters in valid)]
    if len(passed) < passing:
        raise Dropped(
            Reason.TOO_FEW_PASS,
            _told(f"{len(passed)} of {len(submissions)} pass all {len(valid)} valid cases, {passing} needed", votes),
        )
    return {
        "id": problem.id,
        "prompt": problem.prompt,
        **problem.limits,
        "checker": CHECKER,
        "tests": [{"input": case, "output": output.decode()} for case, output, _ in valid],
        "provenance": _provenance(generator, made, votes, valid, len(submissions), len(passed)),
    }


def _valid_cases(
    cases: list[str], votes: Votes, agree: int, rules: Rules, submissions: int
) -> list[tuple[str, bytes, list[int]]]:
    """Choose the valid cases: input, output, and the places of the submissions that wrote it."""
    if submissions - len(votes.flaky) < agree:
        raise Dropped(Reason.FLAKY_SUBMISSIONS, f"{len(votes.flaky)} of {submissions} answer a case in two ways")
    valid, split = [], 0
    for case, vote in zip(cases, votes.of_cases, strict=True):
        output, voters = vote.winner()
        if len(voters) >= agree and _is_text(output):
            valid.append((case, output, voters))
        elif vote.voters() >= agree and len(vote.clusters) >= DISTINCT:
            split += 1
    if 2 * split > len(cases):
        raise Dropped(
            Reason.SPECIAL_JUDGE_IN_OUTPUTS,
            f"at {split} of {len(cases)} cases {agree} or more submissions run, and write {DISTINCT} or more outputs",
        )
    if len(valid) < rules.min_valid:
        raise Dropped(
            Reason.TOO_FEW_VALID,
            _told(f"{len(valid)} of {len(cases)} cases have {agree} that agree, {rules.min_valid} needed", votes),
        )
    return valid


def _told(figures: str, votes: Votes) -> str:
    return "; ".join(filter(None, (figures, votes.in_words())))


def _is_text(output: bytes) -> bool:
    try:
        output.decode()
    except UnicodeDecodeError:
        return False
    return True


def _provenance(
    generator: str,
    made: Generated,
    votes: Votes,
    valid: list[tuple[str, bytes, list[int]]],
    submissions: int,
    passed: int,
) -> dict[str, Any]:
    """Return where the tests come from, for those who read the file."""
    agreement = Counter(len(voters) for _, _, voters in valid)
    return {
        "cyaron": version("cyaron"),
        "generator_sha256": hashlib.sha256(generator.encode(errors="replace")).hexdigest()[:16],
        "cases_made": len(made.cases),
        "valid_cases": len(valid),
        "cases_by_agreement": {str(number): agreement[number] for number in sorted(agreement, reverse=True)},
        "distinct_outputs": len({output for _, output, _ in valid}),
        "submissions": submissions,
        "passed": passed,
        "flaky": len(votes.flaky),
    }
