"""Runs a program on a problem's tests; comparing is done here, outside the boxes."""

from contextlib import ExitStack

from k15_plugins.rewards.call_function import BEFORE, CALL, as_module
from k15_plugins.rewards.judge_asserts import VerifierFailed, passes_asserts
from k15_plugins.sandbox import Limits, Program, Sandbox, Status
from k15_plugins.tasks.code_places import Place, read_problem
from k15_plugins.tasks.code_schemas import Case, CodeProblem
from k15_plugins.tasks.compare_output import COMPARISONS

_CHECKER_LIMITS = Limits(cpu_seconds=20.0, memory_bytes=2**30)


def judge(sample: tuple[str, str], *, sandbox: Sandbox, max_tests: int | None, all_or_nothing: bool) -> float:
    """Run a program on the tests of a problem.

    Args:
        sample: Source of the program, and place of the problem as `Place.dump` wrote it.
        sandbox: Runs it.
        max_tests: Take only so many tests, those with the largest inputs; None for all.
        all_or_nothing: Stop at the first failed test.

    Returns:
        The share of passed tests, in [0, 1]; with `all_or_nothing` 1.0 or 0.0.

    Raises:
        VerifierFailed: If a box or the problem's checker failed; never for what the program does.
    """
    program, place = sample
    problem = read_problem(Place.load(place))
    if problem.asserts is not None:
        return float(passes_asserts(program, problem, sandbox))
    cases = problem.tests
    if max_tests is not None:
        cases = tuple(sorted(cases, key=lambda case: -len(case.input))[:max_tests])
    source = problem.prelude + program
    if problem.function or (problem.prelude and problem.language == "python"):
        source = (BEFORE if problem.function else "") + problem.prelude + as_module(program)
    if problem.function:
        source += CALL.format(name=problem.function)
    limits = Limits(cpu_seconds=problem.cpu_seconds, memory_bytes=problem.memory_mb << 20)
    passed = 0
    with ExitStack() as boxes:
        box = boxes.enter_context(sandbox.open(Program(source, problem.language), limits))
        checker = _Checker(problem, sandbox, boxes)
        for case in cases:
            outcome = box.run(case.input.encode(errors="surrogatepass"))
            if outcome.status is Status.BOX_FAILED:
                raise VerifierFailed(f"the box failed: {outcome.stderr}")
            if outcome.status is Status.NOT_COMPILED:
                return 0.0
            if outcome.status is Status.OK and checker.accepts(outcome.stdout, case):
                passed += 1
            elif all_or_nothing:
                return 0.0
    return passed / len(cases)


class _Checker:
    """Compares by the problem's rule, in a box of its own where that is a program."""

    def __init__(self, problem: CodeProblem, sandbox: Sandbox, boxes: ExitStack) -> None:
        self._id = problem.id
        self._compare = COMPARISONS.get(problem.checker)
        if problem.checker_source is not None:
            self._box = boxes.enter_context(sandbox.open(Program(problem.checker_source), _CHECKER_LIMITS))

    def accepts(self, given: bytes, case: Case) -> bool:
        expected = [output.encode(errors="surrogatepass") for output in case.outputs]
        if self._compare is not None:
            return any(self._compare(given, output) for output in expected)
        verdicts = [self._ask(given, output, case) for output in expected]
        if True in verdicts:
            return True
        # The output's fault, if the checker accepts the right one: also where the output made it stumble.
        if not all(self._ask(output, output, case) for output in expected):
            raise VerifierFailed(f"the checker of problem {self._id!r} does not accept the right output")
        return False

    def _ask(self, given: bytes, expected: bytes, case: Case) -> bool | None:
        """Run the checker; None if it neither accepts nor refuses."""
        files = {"input.txt": case.input.encode(errors="surrogatepass"), "correct.txt": expected, "given.txt": given}
        outcome = self._box.run(arguments=tuple(files), files=files)
        says = outcome.stdout.strip()
        if outcome.status is Status.BOX_FAILED:
            raise VerifierFailed(f"the box of the checker failed: {outcome.stderr}")
        if outcome.status is not Status.OK or says not in (b"0", b"1"):
            return None
        return says == b"1"
