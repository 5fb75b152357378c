"""Runs a program on tests that are Python statements, such as HumanEval's, without showing them to it.

There are two boxes. In one the statements run, and where they call the program's function, they stop and say with
which arguments. In the other the program answers that call. Then the statements run again from the start, with all
answers so far, and stop at the next call. Arguments and values cross as literals, so the program sees nothing of the
test but the arguments of the calls, and can change nothing but its own answers.

Each call is answered by a new process: a function that remembers earlier calls, or changes its arguments in place,
fails here.
"""

import ast
from contextlib import ExitStack

from k15_plugins.rewards.call_function import BEFORE, as_module
from k15_plugins.sandbox import Limits, Outcome, Program, Sandbox, Status
from k15_plugins.tasks.code_schemas import Asserts, CodeProblem

_MOST_CALLS = 2000
# What is written is read outside: a literal, whoever wrote it.
_TESTS = """
import ast as _ast, sys as _sys
_answers, _calls = _ast.literal_eval(_sys.stdin.read()), []
class _Need(BaseException):
    pass
def _call(name, arguments, keywords):
    number = len(_calls)
    _calls.append((name, arguments, keywords))
    if number == len(_answers):
        raise _Need
    kind, value = _answers[number]
    if kind == "raised":
        raise RuntimeError(value)
    return _ast.literal_eval(value)
_source, _functions = {source!r}, {functions!r}
_names = {{"__name__": "tests"}}
def _proxy(name):
    return lambda *arguments, **keywords: _call(name, arguments, keywords)
for _name in _functions:
    _names[_name] = _proxy(_name)
try:
    for _node in _ast.parse(_source).body:
        if isinstance(_node, _ast.FunctionDef) and _node.name in _functions:
            continue  # a stub, which stands there for its helpers
        exec(compile(_ast.Module([_node], []), "tests", "exec"), _names)
    _end = ("passed",)
except _Need:
    _end = ("call", repr(_calls[-1]))
except BaseException as error:
    _end = ("failed", type(error).__name__)
print(repr(_end))
"""
_ANSWER = """
def _plain(value):
    for kind in (dict, list, tuple, set):
        if isinstance(value, kind) and type(value) is not kind:
            value = kind(value)
    if type(value) is dict:
        return {_plain(key): _plain(each) for key, each in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple, set) else value
_name, _arguments, _keywords = _ast.literal_eval(_given)
try:
    _value = repr(_plain(globals()[_name](*_arguments, **_keywords)))
    _ast.literal_eval(_value)
    _end = ("returned", _value)
except Exception as _error:
    _end = ("raised", type(_error).__name__)
_stdout.write(repr(_end))
_stdout.flush()
"""


_MOST_BYTES = 2**18
"""Longest answer of a program: it is read here, outside of the boxes, and takes hundreds of times its size."""


class VerifierFailed(RuntimeError):
    """Nothing is known about the program: its box or the problem's own tests failed."""


def passes_asserts(program: str, problem: CodeProblem, sandbox: Sandbox) -> bool:
    """Run a program on the statements of a problem.

    Args:
        program: Its source.
        problem: Has `asserts`.
        sandbox: Runs both sides.

    Raises:
        VerifierFailed: If a box failed, or the side of the statements did.
    """
    asserts = problem.asserts
    assert asserts is not None
    tests = _TESTS.format(source=asserts.source, functions=asserts.functions)
    candidate = BEFORE + whole_program(program, asserts) + _ANSWER
    limits = Limits(cpu_seconds=problem.cpu_seconds, memory_bytes=problem.memory_mb << 20)
    answers: list[tuple[str, ...]] = []
    with ExitStack() as boxes:
        ours = boxes.enter_context(sandbox.open(Program(tests), limits))
        theirs = boxes.enter_context(sandbox.open(Program(candidate), limits))
        while len(answers) < _MOST_CALLS:
            said = ours.run(repr(answers).encode(errors="surrogatepass"))
            end = _literal(said)
            if end is None or said.status is not Status.OK:
                if answers and said.status is not Status.BOX_FAILED:
                    return False  # an answer made the statements stumble: too large a value, say
                raise VerifierFailed(f"the tests of {problem.id!r} do not run: {said.status} {said.stderr[-200:]}")
            if end[0] != "call":
                return end[0] == "passed"
            answer = theirs.run(end[1].encode(errors="surrogatepass"))
            if answer.status is Status.BOX_FAILED:
                raise VerifierFailed(f"the box failed: {answer.stderr}")
            found = _literal(answer)
            if answer.status is not Status.OK or found is None or not _is_answer(found):
                return False
            answers.append(found)
    return False


def whole_program(program: str, asserts: Asserts) -> str:
    """Return the program with what it goes on with, or leans on.

    Args:
        program: The candidate.
        asserts: Of its problem.
    """
    try:
        defined = {node.name for node in ast.parse(program).body if isinstance(node, ast.FunctionDef)}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        defined = set()
    if asserts.functions[0] not in defined:
        return asserts.stem + program
    head, _, _ = asserts.stem.rpartition(f"def {asserts.functions[0]}(")
    return head + as_module(program)


def _literal(outcome: Outcome) -> tuple[str, ...] | None:
    if len(outcome.stdout) > _MOST_BYTES:
        return None
    try:
        found = ast.literal_eval(outcome.stdout.decode().strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return found if isinstance(found, tuple) and found else None


def _is_answer(found: tuple[str, ...]) -> bool:
    return len(found) == 2 and all(isinstance(each, str) for each in found)
