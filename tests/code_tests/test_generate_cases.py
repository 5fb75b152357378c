"""Cases from generators, good and bad, each in a real box."""

import pytest

from k15_plugins.code_tests import generate_cases as module
from k15_plugins.code_tests.generate_cases import LIMITS, Trouble, generate_cases
from k15_plugins.code_tests.rules import Rules
from k15_plugins.sandbox import BwrapSandbox, Limits

THREE = Rules(cases=3, min_valid=3, repeats=0)


@pytest.fixture(scope="module")
def sandbox():
    return BwrapSandbox()


def test_each_seed_gives_another_case_and_the_same_one_again(sandbox):
    generator = "from cyaron import *\nprint(randint(1, 10**9))\nprint(String.random_regular('[a-z]{8}'))\n"
    made = generate_cases(generator, sandbox, THREE)
    assert len(set(made.cases)) == 3
    assert not made.troubles.total()
    assert generate_cases(generator, sandbox, THREE).cases == made.cases


def test_files_are_cases_in_the_order_of_their_numbers(sandbox):
    generator = """
from cyaron import *
for number in (10, 9, 2):
    io = IO(file_prefix="case", data_id=number)
    io.input_writeln(number)
    io.output_gen("./std")
print("three files are written")
"""
    made = generate_cases(generator, sandbox, THREE)
    assert made.cases == ["2\n", "9\n", "10\n"]
    assert not made.troubles.total()


def test_what_an_io_writes_to_the_standard_output_is_the_case(sandbox):
    generator = """
import sys
from cyaron import *
io = IO(sys.stdout, disable_output=True)
io.input_writeln(randint(1, 99), [4, 5])
"""
    made = generate_cases(generator, sandbox, THREE)
    assert all(case.endswith(" 4 5\n") for case in made.cases)


@pytest.mark.parametrize(
    ("generator", "trouble", "words"),
    [
        ("raise ValueError('no idea')", Trouble.FAILED, "ValueError: no idea"),
        ("import numpy", Trouble.FAILED, "No module named 'numpy'"),
        ("print(", Trouble.FAILED, "SyntaxError"),
        ("from cyaron import Tree", Trouble.FAILED, "cannot import name 'Tree'"),
        ("import sys\nsys.exit('bad')", Trouble.FAILED, "bad"),
        ("while True:\n    print('9' * 10**6)", Trouble.FAILED, ""),
        ("import sys\nsys.stdout.buffer.write(b'\\xff')", Trouble.FAILED, ""),
        ("import subprocess\nprint(subprocess.run('ls', capture_output=True))", Trouble.FAILED, ""),
        ("print(' ')", Trouble.EMPTY, ""),
        ("print(1)", Trouble.REPEATED, ""),
        ("import random\nrandom.seed(7)\nprint(random.random())", Trouble.REPEATED, ""),
        ("import time\nprint(time.time_ns())", Trouble.DIFFERENT, ""),
        ("import os\nprint(os.urandom(4).hex())", Trouble.DIFFERENT, ""),
        ("print(hash(object()))", Trouble.DIFFERENT, ""),  # an address, which is the same in all runs of one box
    ],
)
def test_a_bad_generator_is_given_up_with_its_trouble(generator, trouble, words, sandbox, monkeypatch):
    monkeypatch.setattr(module, "LIMITS", Limits(cpu_seconds=5.0, output_bytes=2**20))
    monkeypatch.setattr(module, "MAX_USELESS", 2)
    made = generate_cases(generator, sandbox, THREE)
    assert len(made.cases) <= 1
    assert made.troubles.most_common(1)[0][0] is trouble
    assert words in made.in_words()
    assert made.runs <= 6


def test_a_generator_that_never_ends_is_given_up_after_three_seeds(sandbox, monkeypatch):
    monkeypatch.setattr(module, "LIMITS", Limits(cpu_seconds=0.2))
    made = generate_cases("while True:\n    pass", sandbox, Rules(cases=8, min_valid=3))
    assert (made.runs, made.troubles.total(), made.troubles[Trouble.TIMEOUT]) == (3, 3, 3)


def test_a_large_graph_fits_the_limits(sandbox):
    made = generate_cases(
        "from cyaron import *\nprint(Graph.graph(20000, 20000))", sandbox, Rules(cases=1, min_valid=1, repeats=1)
    )
    assert made.cases[0].count("\n") == 20000
    assert LIMITS.output_bytes > 10 * len(made.cases[0])


def test_it_stops_at_the_last_seed(sandbox):
    rare = "import random, sys\nprint(random.random() if int(sys.argv[1]) % 4 == 0 else '')"
    made = generate_cases(rare, sandbox, Rules(cases=6, min_valid=2, tries=9, repeats=0))
    assert len(made.cases) == 3
    assert made.runs == 9
    assert made.in_words() == "3 cases of 9 runs (6 empty)"
