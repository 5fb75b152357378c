"""The reward of programs, with real boxes."""

import json
import math

import pytest

from k15_plugins.rewards import CodeReward, judge_asserts
from k15_plugins.rewards.judge_asserts import VerifierFailed
from k15_plugins.rewards.judge_program import judge
from k15_plugins.sandbox import Outcome, Status
from k15_plugins.sandbox.bwrap import BwrapSandbox
from k15_plugins.tasks.code_problems import load_code_problems

GOOD = "a, b = map(int, input().split())\nprint(a + b)"
SUM = {
    "id": "sum",
    "prompt": "Add two numbers.",
    "tests": [{"input": f"{n} {n * n}\n", "output": f"{n + n * n}\n"} for n in range(5)],
    "cpu_seconds": 1,
}
CHECKED = {
    "id": "two",
    "prompt": "Write two numbers with the sum that is given.",
    "tests": [{"input": "10\n", "output": "5 5\n"}],
    "checker": "program",
    "checker_source": (
        "import sys\n"
        "given, correct, said = (open(name).read().split() for name in sys.argv[1:])\n"
        "print(int(sum(map(int, said)) == int(given[0]) and len(said) == 2))\n"
    ),
}
DOUBLE = {
    "id": "double",
    "prompt": "Write double(items).",
    "function": "double",
    "tests": [{"input": [[1, 2]], "output": [2, 4]}, {"input": [[]], "output": []}],
}


FUTURE = "from __future__ import annotations, division  # as one does"


NODES = """
import dataclasses, pickle
@dataclasses.dataclass
class Node:
    value: int
    next: "Node" = None
def double(items):
    return [pickle.loads(pickle.dumps(Node(2 * item))).value for item in items]
"""


@pytest.fixture(scope="module")
def reward():
    return CodeReward()


@pytest.fixture
def places(tmp_path):
    def write(*rows):
        file = tmp_path / "problems.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_code_problems(file).train["problem"]

    return write


def fenced(program):
    return f"<think>```python\nprint(0)\n```</think>\nHere:\n```python\n{program}\n```\nDone."


def test_programs_of_every_kind(reward, places):
    (place,) = places(SUM)
    cases = [
        (fenced(GOOD), 1.0),
        ([{"role": "assistant", "content": fenced(GOOD)}], 1.0),
        (fenced(GOOD + "\nimport sys; sys.exit(0)"), 1.0),
        (fenced("print(0)"), 0.0),  # right for one test only
        (fenced("while True: pass"), 0.0),
        (fenced("1 / 0"), 0.0),
        (fenced("def f(:"), 0.0),
        (fenced(GOOD + "\nraise SystemExit(1)"), 0.0),
        (fenced("import os; os._exit(0)"), 0.0),
        (fenced("import os; os.kill(os.getppid(), 9)"), 0.0),
        (fenced("print('\ud800')"), 0.0),
        (fenced("import sys; sys.stdin = None"), 0.0),
        ("no program", 0.0),
        ("```python\nprint(", 0.0),
        ("", 0.0),
    ]
    metrics = {}
    rewards = reward(
        prompts=None,
        completions=[completion for completion, _ in cases],
        completion_ids=None,
        problem=[place] * len(cases),
        log_metric=metrics.__setitem__,
    )
    assert rewards == [expected for _, expected in cases]
    assert metrics == {"k15/verifier_failures": 0.0, "k15/no_program": pytest.approx(3 / len(cases))}


def test_the_share_of_passed_tests(places):
    (place,) = places(SUM)
    share = CodeReward(share=True)
    given = [
        fenced("print(0)"),
        fenced(GOOD),
        fenced("a, b = map(int, input().split())\nprint(a + b if a < 3 else 1 / 0)"),
    ]
    assert share(None, given, None, problem=[place] * 3) == [0.2, 1.0, 0.6]


def test_the_largest_inputs_are_those_that_are_taken(places):
    long = {"input": "100000 1\n", "output": "100001\n"}
    (place,) = places(SUM | {"tests": [*SUM["tests"], long]})
    small_only = fenced("a, b = map(int, input().split())\nprint(a + b if a < 10 else 0)")
    assert CodeReward(max_tests=1)(None, [fenced(GOOD), small_only], None, problem=[place] * 2) == [1.0, 0.0]


def test_a_function_is_called(reward, places):
    (place,) = places(DOUBLE)
    programs = {
        "def double(items):\n    print('aside')\n    return [2 * item for item in items]": 1.0,
        "class Solution:\n    def double(self, items: List[int]):\n        return tuple(2 * i for i in items)": 1.0,
        "def double(items):\n    return items": 0.0,
        "def other(items):\n    return [2 * item for item in items]": 0.0,
        "def double(items):\n    return object()": 0.0,
        "class L(list):\n    __eq__ = lambda *_: True\ndef double(items):\n    return L([9])": 0.0,
        "def double(items):\n    return [2 * i for i in items]\nif __name__ == '__main__':\n    input()": 1.0,
        f"""'Mine.'\n{FUTURE}\ndef double(items: Unknown):\n    return [2 * i for i in items]""": 1.0,
        f"{FUTURE}\n{NODES}": 1.0,
        NODES: 1.0,
        "class Solution: pass\ndef double(items):\n    return [2 * i for i in items]": 1.0,
        f"# mine\n\n{FUTURE}\ndef double(items: Unknown) -> None:\n    return [2 * i for i in items]": 1.0,
        f"import math\n{FUTURE}\ndef double(items):\n    return [2 * i for i in items]": 0.0,
        FUTURE: 0.0,
    }
    given = [fenced(program) for program in programs]
    assert reward(None, given, None, problem=[place] * len(given)) == list(programs.values())


def test_a_checker_decides_and_no_output_makes_it_fail(reward, places):
    (place,) = places(CHECKED)
    given = [fenced(f"print({text!r})") for text in ("3 7", "10 0", "3 8", "10", "x y", "")]
    assert reward(None, given, None, problem=[place] * len(given)) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("source", ["1 / 0", "print(0)"])
def test_a_checker_that_fails_on_the_right_output_is_the_verifiers_failure(reward, places, caplog, source):
    (place,) = places(CHECKED | {"checker_source": source})
    metrics = {}
    rewards = reward(None, [fenced("print('3 7')"), "none"], None, problem=[place] * 2, log_metric=metrics.__setitem__)
    assert rewards == [None, 0.0]
    assert metrics["k15/verifier_failures"] == 1.0
    assert "the checker of problem 'two' does not accept the right output" in caplog.text
    sandbox = BwrapSandbox()
    with pytest.raises(VerifierFailed):
        judge(("print(1)", place), sandbox=sandbox, max_tests=None, all_or_nothing=True)


def test_equal_programs_run_once(places, monkeypatch):
    (place,) = places(SUM)
    counted = []

    def count(function, items):
        counted.append(len(items))
        return [function(item) for item in items]

    monkeypatch.setattr("k15_plugins.rewards.code.pool.map", count)
    assert CodeReward()(None, [fenced(GOOD)] * 5 + ["x"], None, problem=[place] * 6) == [1.0] * 5 + [0.0]
    assert counted == [1]


def test_several_right_outputs_and_floats(reward, places):
    either, near = places(
        SUM | {"tests": [{"input": "", "output": ["1", "2"]}]},
        SUM | {"id": "b", "prompt": "B", "checker": "floats", "tests": [{"input": "", "output": "0.333333333"}]},
    )
    given = [fenced(f"print({text})") for text in ("1", "2", "3")]
    assert reward(None, given, None, problem=[either] * 3) == [1.0, 1.0, 0.0]
    given = [fenced(f"print({text})") for text in ("1 / 3", "0.3334", "float('nan')")]
    assert reward(None, given, None, problem=[near] * 3) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("max_tests", [0, -1, True, 1.5])
def test_a_wrong_argument_is_refused(max_tests):
    with pytest.raises(ValueError, match="max_tests must be a whole number from 1"):
        CodeReward(max_tests=max_tests)


def test_what_is_no_switch_and_no_sandbox_is_refused():
    with pytest.raises(ValueError, match="share must be True or False, got 'yes'"):
        CodeReward(share="yes")
    with pytest.raises(ValueError, match="sandbox must be an object, got 'bwrap'"):
        CodeReward(sandbox="bwrap")


HUMANEVAL = {
    "task_id": "HumanEval/x",
    "prompt": 'import math\n\n\ndef helper(x):\n    return x\n\n\ndef half(x):\n    """Half of x."""\n',
    "entry_point": "half",
    "test": (
        "def check(candidate):\n    for n in range(6):\n        assert candidate(n) == helper(n / 2)\n"
        "    assert math.pi > 3\n"
    ),
}
MBPP = {
    "task_id": 3,
    "text": "Write a function to reverse words.",
    "test_list": ["assert turn('a b') == 'b a'", "assert set(turn(w) for w in ('x', 'y z')) == {'x', 'z y'}"],
    "test_setup_code": "",
}


def load(tmp_path, schema, row):
    file = tmp_path / f"{schema}.jsonl"
    file.write_text(json.dumps(row) + "\n")
    return load_code_problems(file, schema=schema).train["problem"][0]


HACKS = {
    "exit": "    import os; os._exit(0)\n",
    "sys_exit": "    raise SystemExit(0)\n",
    "eq": "    class A:\n        def __eq__(s, o): return True\n    return A()\n",
    "eq_repr": "    class A(int):\n        def __eq__(s, o): return True\n    return A(1)\n",
    "patch": "    import builtins\n    builtins.AssertionError = Exception\n    return 5\n",
    "frame": (
        "    import sys\n    f = sys._getframe()\n    while f:\n        f.f_globals['check'] = lambda c: None\n"
        "        f = f.f_back\n    return 0\n"
    ),
    "print": "    print(repr(('passed',)))\n    import os; os._exit(0)\n",
    "forge": "    _stdout.write(repr(('returned', '0.5')) * 2)\n    return 0\n",
    "long": "    return 'x' * 10**9\n",
    "loop": "    while True: pass\n",
    "input": "    return open('/proc/self/cmdline').read()\n",
}


def test_humaneval_shows_no_test_to_the_program(reward, tmp_path):
    place = load(tmp_path, "humaneval", HUMANEVAL)
    whole = "import math\ndef half(x):\n    return x / 2"
    right = [
        fenced("    return x / 2"),
        fenced(whole),
        fenced(f"{FUTURE}\n{whole}"),
        fenced(whole + "\nprint('aside')\nif __name__ == '__main__':\n    input()"),
    ]
    wrong = [
        fenced("    return x // 2"),
        fenced("    return None"),
        fenced("    return x +"),
        *map(fenced, HACKS.values()),
    ]
    rewards = reward(None, right + wrong, None, problem=[place] * len(right + wrong))
    assert rewards == [1.0] * len(right) + [0.0] * len(wrong)


def test_a_test_that_cannot_run_is_the_verifiers_failure(reward, tmp_path):
    place = load(tmp_path, "humaneval", HUMANEVAL | {"test": "1 / 0\ndef check(candidate):\n    pass\n"})
    # The tests never call: what they raise counts against the program, as in the original.
    assert reward(None, [fenced("    return 1")], None, problem=[place]) == [0.0]
    place = load(tmp_path, "humaneval", HUMANEVAL | {"test": "import os; os._exit(1)\n"})
    (verdict,) = reward(None, [fenced("    return 1")], None, problem=[place])
    assert verdict is None or math.isnan(verdict)


def test_mbpp(reward, tmp_path):
    place = load(tmp_path, "mbpp", MBPP)
    right = "def turn(text):\n    return ' '.join(reversed(text.split()))"
    given = [fenced(right), fenced(right.replace("turn", "other")), fenced("def turn(text):\n    return 'b a'")]
    assert reward(None, given, None, problem=[place] * 3) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("schema", "row", "message"),
    [
        ("humaneval", HUMANEVAL | {"entry_point": ""}, "entry_point must be text"),
        ("humaneval", HUMANEVAL | {"test": "def check(:"}, "test must be Python"),
        ("mbpp", MBPP | {"test_list": []}, "test_list must hold asserts"),
        ("mbpp", MBPP | {"test_list": ["assert True"]}, "test_list must call a function"),
        ("mbpp", MBPP | {"test_list": ["assert ("]}, "test_list must be Python"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path, schema, row, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, schema, row)


def test_dictionaries_of_the_library_count_as_plain_ones(reward, tmp_path):
    row = MBPP | {"text": "Count.", "test_list": ["assert count('aab') == {'a': 2, 'b': 1}"]}
    place = load(tmp_path, "mbpp", row)
    right = "from collections import Counter, defaultdict\ndef count(s):\n    return Counter(s)"
    nested = right.replace("return Counter(s)", "return defaultdict(int, {c: s.count(c) for c in s})")
    wrong = right.replace("Counter(s)", "Counter(s[1:])")
    given = [fenced(program) for program in (right, nested, wrong)]
    assert reward(None, given, None, problem=[place] * 3) == [1.0, 1.0, 0.0]


def test_an_answer_that_is_huge_is_wrong_and_not_read(reward, tmp_path):
    place = load(tmp_path, "mbpp", MBPP)
    huge = "import os\nos.write(1, b'(' + b'[],' * 1000000 + b')'); os._exit(0)"
    assert reward(None, [fenced(huge)], None, problem=[place]) == [0.0]
    long, short = (Outcome(Status.OK, repr(("returned", "x" * size)).encode()) for size in (2**18, 2**17))
    assert judge_asserts._literal(long) is None
    assert judge_asserts._literal(short) == ("returned", "x" * 2**17)
