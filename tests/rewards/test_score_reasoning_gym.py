"""An answer to a reasoning-gym problem is never run as code, and changes no later verdict."""

from pathlib import Path

import pytest
from hostile import ISSUE, TAKE_OVER, malformed, payloads
from reasoning_gym.factory import DATASETS, create_dataset

from k15_plugins.rewards.pooled_verifier import PooledVerifier
from k15_plugins.rewards.verify import GuardedVerifier
from k15_plugins.sandbox import pool
from k15_plugins.tasks.entries import dump_entry
from k15_plugins.tasks.reasoning_gym import Task, reasoning_gym_problems

LEVEL_0_UNUSABLE = {"knight_swap", "sokoban"}  # as in tests/tasks/test_reasoning_gym_problems.py
NO_ANSWER_GIVEN = {
    "boxnet",
    "graph_color",
    "propositional_logic",
    "rubiks_cube",
    "rush_hour",
}  # any valid one is right
ALL_TASKS = sorted(DATASETS.keys() - {"composite"})
READ_BY_SYMPY = [
    *("countdown", "puzzle24", "polynomial_multiplication", "simple_integration", "intermediate_integration")
]
READ_BY_PYTHON = ["binary_matrix", "n_queens", "spiral_matrix", "string_insertion"]


@pytest.fixture(scope="module")
def scorer():
    return GuardedVerifier("k15_plugins.rewards.score_reasoning_gym:score", timeout_seconds=30)


@pytest.fixture(scope="module")
def problems():
    return {name: _problem(name) for name in ALL_TASKS}


def _problem(name):
    task = Task(name, levels=[{}] if name in LEVEL_0_UNUSABLE else [0])
    return reasoning_gym_problems([task], train_size=1, held_out_size=0).train[0]


def _verdicts(scorer, answers, row):
    return scorer([(answer, row["task"], row["entry"]) for answer in answers])


def test_the_known_tasks_are_all_that_compile_an_answer(problems):
    compiling = GuardedVerifier("unguarded_scorer:compiles", timeout_seconds=30)
    answers = ["zq7", "[zq7]", "zq7 + 1"]
    found = {name for name in ALL_TASKS if any(_verdicts(compiling, answers, problems[name]).scores)}
    assert found == {*READ_BY_SYMPY, *READ_BY_PYTHON}


@pytest.mark.parametrize("name", READ_BY_SYMPY)
def test_an_answer_does_not_take_over_the_scorer(name, scorer, problems):
    before = _verdicts(scorer, ["1 + 1", problems[name]["answer"]], problems[name])
    _verdicts(scorer, [ISSUE.format(code=TAKE_OVER)], problems[name])
    assert _verdicts(scorer, ["1 + 1", problems[name]["answer"]], problems[name]) == before
    assert _verdicts(scorer, ["wrong"], problems["chain_sum"]).scores == [0.0]


def test_no_task_runs_an_answer_or_lets_it_change_a_later_verdict(problems, tmp_path):
    pool.use(workers=2)
    verifier = PooledVerifier("k15_plugins.rewards.score_reasoning_gym:score", timeout_seconds=5)
    honest, hostile, added = [], [], []
    for name, row in problems.items():
        canary = str(tmp_path / name)
        attacks = payloads(f"open({canary!r}, 'w'); {TAKE_OVER}", canary)
        right = " ".join(row["answer"].split())  # some scorers look for it first; gsm_symbolic asks for no more
        key = (row["task"], row["entry"])
        honest += [(row["answer"].strip(), *key), ("no such thing", *key)]
        some = attacks if name in READ_BY_SYMPY + READ_BY_PYTHON else attacks[::3]
        hostile += [(answer, *key) for answer in [*some, *malformed(canary)]]
        added.append((f"{right} + {attacks[2]}", *key))
    before = verifier(honest)
    assert [value >= 1 for value in before.scores[::2]] == [name not in NO_ANSWER_GIVEN for name in problems]
    assert max(before.scores[1::2]) < 1
    assert max(verifier(hostile).scores) < 1
    verifier(added)
    assert not list(tmp_path.iterdir())
    assert verifier(honest) == before
    pool.use()


@pytest.mark.parametrize("name", READ_BY_SYMPY)
def test_right_answers_and_their_variants_keep_the_verdicts_of_the_scorer(name, scorer):
    wrong = []
    size = 1 if name == "intermediate_integration" else 3  # seconds a problem
    for settings in _settings(name):
        dataset = create_dataset(name, size=size, seed=11, **settings)
        for entry in dataset:
            answer = entry["answer"]
            variants = [
                answer,
                f" {answer}\n",
                f"({answer})",
                answer.replace(" ", ""),
                f"{answer} + 0",
                f"2*({answer})/2",
            ]
            variants += [f"{answer} + 1", "7", f"0.5*({answer})", f"+({answer})"]
            if "Integral" in answer:  # repeats the question; the scorer pays for it
                variants = [variant for variant in variants if "Integral" not in variant]
            given = [(variant, name, dump_entry({**entry, "config": settings})) for variant in variants]
            wrong += [
                (variant, entry["metadata"])
                for variant, score in zip(variants, scorer(given).scores, strict=True)
                if (score == 1) != (dataset.score_answer(variant, entry) == 1)
            ]
    assert not wrong


def _settings(name):
    if name == "intermediate_integration":
        return [{"problem_type_weights": [float(i == kind) for i in range(8)]} for kind in range(8)]
    return {
        "countdown": [{}, {"min_numbers": 2, "max_numbers": 3}, {"min_numbers": 8, "max_numbers": 9}],
        "puzzle24": [{}, {"max_value": 6}],
        "polynomial_multiplication": [
            {},
            {"allow_cross_variable_product": True, "allow_multivariate_polynomials": True},
            {"variables": ("a", "bc")},
        ],
        "simple_integration": [{}, {"min_degree": -5, "symbols": ("X",)}],
    }[name]


def test_what_the_guard_refuses_ran_without_it(tmp_path, problems):
    """So the payloads are real: the first of them takes over a scorer that nothing guards."""
    canary = tmp_path / "ran"
    unguarded = GuardedVerifier("unguarded_scorer:compiles", timeout_seconds=30)
    (attack, *_) = payloads(f"open({str(canary)!r}, 'w')", str(canary))
    _verdicts(unguarded, [attack], problems["polynomial_multiplication"])
    assert Path(canary).exists()
