"""Problems from reasoning-gym: any task, levels, mixtures, and a split that no seed or size can break."""

import random
from collections import Counter

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from reasoning_gym.factory import DATASETS

from k15_plugins.rewards.verify import GuardedVerifier
from k15_plugins.tasks.entries import load_entry
from k15_plugins.tasks.levels import level_count
from k15_plugins.tasks.reasoning_gym import Task, reasoning_gym_problems

CHAINS = {
    "name": "chain_sum",
    "config": {"min_digits": 1, "max_digits": 1},
    "levels": [{"min_terms": n, "max_terms": n} for n in (3, 4, 5, 6)],
}
SMALL = {"name": "chain_sum", "config": {"max_digits": 1}, "levels": [0]}  # 200 problems, 39 of them held out

# Many right answers; their entries name none.
WITHOUT_ANSWER = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
# Level 0 of the curriculum: refused by the task itself (knight_swap), minutes a problem (sokoban).
LEVEL_0_UNUSABLE = {"knight_swap", "sokoban"}
ALL_TASKS = sorted(DATASETS.keys() - {"composite"})


@pytest.fixture(scope="module")
def scorer():
    return GuardedVerifier("k15_plugins.rewards.score_reasoning_gym:score", timeout_seconds=30)


@pytest.mark.parametrize("name", ALL_TASKS)
def test_the_right_answer_scores_full_marks_after_its_way_through_the_dataset(name, scorer):
    task = Task(name, levels=[{}] if name in LEVEL_0_UNUSABLE else [0])
    (row,) = reasoning_gym_problems([task], train_size=1, held_out_size=0).train
    assert row["task"] == name
    assert row["prompt"] == load_entry(row["entry"])["question"]
    right = 0.0 if name in WITHOUT_ANSWER else 1.0
    scores, failures = scorer([(row["answer"].strip(), name, row["entry"]), ("no such thing", name, row["entry"])])
    assert scores[0] == pytest.approx(right, abs=0.05)
    assert scores[1] < 1
    assert 0 not in failures


def test_the_default_recipe_has_four_levels():
    problems = reasoning_gym_problems([CHAINS], train_size=400, held_out_size=40, template="{metadata[expression]} =")
    assert Counter(problems.train["level"]) == dict.fromkeys(range(4), 100)
    assert Counter(problems.held_out["level"]) == dict.fromkeys(range(4), 10)
    for row in problems.train:
        assert len(row["prompt"].split()) == 2 * (row["level"] + 3)
        assert eval(row["prompt"].rstrip("= ")) == int(row["answer"])
    assert set(problems.train.column_names) == {"prompt", "answer", "level", "task", "entry"}


@given(
    first=st.tuples(st.integers(1, 120), st.integers(0, 30), st.integers(0, 2**31)),
    second=st.tuples(st.integers(1, 120), st.integers(0, 30), st.integers(0, 2**31)),
)
@settings(max_examples=25, deadline=None, phases=[Phase.generate])  # to shrink a failure takes minutes
def test_train_and_held_out_never_overlap_whatever_the_sizes_and_seeds(first, second):
    runs = [
        reasoning_gym_problems([SMALL], train_size=train, held_out_size=held_out, seed=seed)
        for train, held_out, seed in (first, second)
    ]
    for (train, held_out, _), run in zip((first, second), runs, strict=True):
        assert (len(run.train), len(run.held_out)) == (train, held_out)
        assert len({*run.train["prompt"], *run.held_out["prompt"]}) == train + held_out
    for run in runs:
        for other in runs:
            assert not {*run.train["prompt"]} & {*other.held_out["prompt"]}


def test_the_seed_decides_and_nothing_else():
    state = random.getstate()
    make = lambda seed: reasoning_gym_problems([CHAINS], train_size=50, held_out_size=5, seed=seed)  # noqa: E731
    first, again, other = make(1), make(1), make(2)
    assert first.train.to_list() == again.train.to_list()
    assert first.held_out.to_list() == again.held_out.to_list()
    assert first.train["prompt"] != other.train["prompt"]
    assert random.getstate() == state


def test_a_mixture_follows_its_weights():
    mixture = [Task("chain_sum", weight=3.0), Task("spell_backward", levels=(1, 2)), {"name": "leg_counting"}]
    train, held_out = reasoning_gym_problems(mixture, train_size=101, held_out_size=10)
    assert len(train) == 101
    assert len(held_out) == 10
    counts = Counter(train["task"])
    assert counts["chain_sum"] in (60, 61)
    assert counts["spell_backward"] in (20, 21)
    assert {row["level"] for row in train if row["task"] == "spell_backward"} == {1, 2}
    assert len(set(train["task"][:15])) > 1  # mixed, not one after the other


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("chain_sum", 0, {"num_terms": 2, "num_digits": 1}),
        ("chain_sum", 3, {"num_terms": 5, "num_digits": 4}),
        # Only num_terms has 11 levels; num_digits stays at its highest.
        ("chain_sum", 10, {"num_terms": 12, "num_digits": 10}),
        ("n_queens", 1, {"n": 6}),
    ],
)
def test_a_level_is_just_that_level(name, level, expected):
    (row,) = reasoning_gym_problems([Task(name, levels=[level])], train_size=1, held_out_size=0).train
    metadata = load_entry(row["entry"])["metadata"]
    difficulty = metadata["difficulty"]
    for key, value in expected.items():
        assert difficulty[key] in (value, (value, value))
    assert row["level"] == level


def test_an_interval_level_reaches_from_one_value_to_the_next():
    # n_queens takes away 2-4 queens at level 0 and 4-6 at level 1.
    for level, removed in [(0, (2, 4)), (1, (4, 6))]:
        (row,) = reasoning_gym_problems([Task("n_queens", levels=[level])], train_size=1, held_out_size=0).train
        assert load_entry(row["entry"])["metadata"]["difficulty"]["num_removed"] == removed


def test_config_wins_over_the_curriculum():
    task = Task("chain_sum", levels=[2], config={"min_digits": 1, "max_digits": 1})
    for row in reasoning_gym_problems([task], train_size=20, held_out_size=0).train:
        assert load_entry(row["entry"])["metadata"]["num_digits"] == 1
        assert load_entry(row["entry"])["metadata"]["num_terms"] == 4


def test_level_counts():
    assert level_count("chain_sum") == 11
    assert level_count("acre") == 1
    assert level_count("word_ladder") == 2  # three values make two intervals


def test_conversational_prompts():
    train, held_out = reasoning_gym_problems(
        [CHAINS], train_size=2, held_out_size=0, template="{question} Think.", system="Be brief.", conversational=True
    )
    system, user = train[0]["prompt"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user["role"] == "user"
    assert user["content"] == load_entry(train[0]["entry"])["question"] + " Think."
    assert len(held_out) == 0
    assert held_out.column_names == train.column_names


def test_questions_that_a_template_makes_equal_are_one_problem():
    train, _ = reasoning_gym_problems(
        [SMALL], train_size=5, held_out_size=0, template="{metadata[num_terms]}{question}"
    )
    assert len(train) == 5
    with pytest.raises(ValueError, match=r"has only [01] distinct training problems and [01] held-out"):
        reasoning_gym_problems([SMALL], train_size=5, held_out_size=0, template="{metadata[num_terms]}")


def test_a_small_task_says_how_many_problems_it_has():
    with pytest.raises(
        ValueError, match=r"'chain_sum' at level 0 has only 1[56]\d distinct training problems and \d+ held"
    ):
        reasoning_gym_problems([SMALL], train_size=500, held_out_size=5)


@pytest.mark.parametrize(
    ("mixture", "options", "message"),
    [
        ([{"name": "chain_sums"}], {}, r"no task 'chain_sums' \(did you mean 'chain_sum'\?\)"),
        ([{"name": "composite"}], {}, "no task 'composite'"),
        ([{"name": "chain_sum", "wieght": 2}], {}, r"no key 'wieght' \(did you mean 'weight'\?\)"),
        ([{"weight": 2}], {}, "has no name"),
        ([{"name": "chain_sum", "weight": 0}], {}, "weight of 'chain_sum' must be above 0, got 0"),
        ([{"name": "chain_sum", "levels": []}], {}, "levels of 'chain_sum' must hold at least one level, got none"),
        ([{"name": "chain_sum", "levels": [11]}], {}, "has 11, but its curriculum has the levels 0 to 10"),
        ([{"name": "acre", "levels": [1]}], {}, "has 1, but its curriculum has the levels 0 to 0"),
        (
            [{"name": "chain_sum", "config": {"max_digit": 1}}],
            {},
            r"no key 'max_digit' \(did you mean 'max_digits'\?\)",
        ),
        (
            [{"name": "chain_sum", "levels": [{"max_term": 1}]}],
            {},
            r"no key 'max_term' \(did you mean 'max_terms'\?\)",
        ),
        (
            [{"name": "chain_sum", "config": {"min_terms": 9}}],
            {},
            "refuses 'chain_sum' at level 0 .* max_terms must be",
        ),
        ([{"name": "knight_swap"}], {}, "refuses 'knight_swap' at level 0 .* min_nodes must be >= 6"),
        ([CHAINS], {"template": "{qustion}"}, r"unknown field \{qustion\} \(did you mean 'question'\?\)"),
        ([CHAINS], {"template": "{metadata[expresion]}"}, r"no key 'expresion' \(did you mean 'expression'\?\)"),
        ([CHAINS], {"template": r"{question} \boxed{}"}, r"unknown field \{\}.*write a literal brace twice"),
        ([CHAINS], {"template": "{question"}, "template must be a format string, got"),
        ([CHAINS], {"template": "Hello"}, "template must have a field, got 'Hello'"),
        ([CHAINS], {"system": "Be brief."}, "system='Be brief.' needs conversational=true"),
        ([CHAINS], {"train_size": 0}, "train_size=0 must be at least 1"),
        ([], {}, "mixture must hold at least one task, got none"),
        ("chain_sum", {}, "mixture must be a list of tasks, got 'chain_sum'; give"),
        ({"name": "chain_sum"}, {}, "mixture must be a list of tasks, got {'name'"),
        (["chain_sum"], {}, "mixture must hold tasks, got 'chain_sum'; write each as {'name'"),
        ([{"name": 5}], {}, "mixture: name of 5 must be text, got 5"),
        ([{"name": "chain_sum", "weight": "heavy"}], {}, "weight of 'chain_sum' must be a finite number, got 'heavy'"),
        ([{"name": "chain_sum", "levels": 3}], {}, "levels of 'chain_sum' must be a list .*, got 3"),
        ([{"name": "chain_sum", "levels": ["a"]}], {}, r"levels of 'chain_sum' must be a list .*, got \['a'\]"),
        ([{"name": "chain_sum", "config": 5}], {}, "config of 'chain_sum' must be keys and values, got 5"),
        ([CHAINS], {"train_size": "4"}, "train_size must be a whole number, got '4'"),
        ([CHAINS], {"template": None}, "template must be text, got None"),
        ([CHAINS], {"system": 5, "conversational": True}, "system must be text, got 5"),
        ([CHAINS], {"template": "{question.foo}"}, r"uses the unknown field \{question.foo\}"),
        ([CHAINS], {"template": "{question:d}"}, "template='{question:d}' cannot be filled in for a problem of 'ch"),
    ],
)
def test_what_cannot_be_is_refused(mixture, options, message):
    with pytest.raises(ValueError, match=message):
        reasoning_gym_problems(mixture, **{"train_size": 1, "held_out_size": 0, **options})
