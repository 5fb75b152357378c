"""Difficulty, domains, duplicates, benchmarks and guesses: bounds, order, and a reason for every drop."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k15_plugins.curation.difficulty import level_of, why_no_use
from k15_plugins.curation.domains import balance, largest_size
from k15_plugins.curation.duplicates import jaccard, near_duplicates, shingles_of
from k15_plugins.curation.funnel import Funnel
from k15_plugins.curation.guesses import Guess, guessed
from k15_plugins.curation.overlap import overlaps
from k15_plugins.curation.reasons import STEPS, Reason
from k15_plugins.curation.rules import DEFAULTS, Rules
from k15_plugins.curation.selection import questions_of
from k15_plugins.samples import Sample, SampledProblem

LONG = "A farmer has 12 cows and 7 goats, and sells 3 of the cows at the market in town. How many animals are left?"


def test_levels_are_equal_parts_of_the_pass_rates():
    assert [level_of(right, 10, 5) for right in range(10, -1, -1)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4]
    assert level_of(9, 10, 10) == 1  # 1 - 0.9 is below 0.1 in floats
    assert [level_of(right, 4, 1) for right in range(5)] == [0] * 5


@given(st.integers(1, 64), st.integers(1, 12), st.data())
def test_a_lower_pass_rate_is_never_an_easier_level(samples, levels, data):
    one, other = sorted(data.draw(st.lists(st.integers(0, samples), min_size=2, max_size=2)))
    assert 0 <= level_of(other, samples, levels) <= level_of(one, samples, levels) < levels
    assert level_of(0, samples, levels) == levels - 1
    assert level_of(samples, samples, levels) == 0


def test_solved_problems_are_dropped_and_unsolved_ones_only_if_wanted():
    assert why_no_use(10, 10, True, False).reason is Reason.SOLVED
    assert why_no_use(10, 10, False, True) is None
    assert why_no_use(0, 10, True, False) is None
    assert why_no_use(0, 10, False, True).reason is Reason.UNSOLVED
    assert why_no_use(9, 10, True, True) is why_no_use(1, 10, True, True) is None


sizes_of = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@given(sizes_of, st.one_of(st.none(), st.floats(0.05, 1)), st.one_of(st.none(), st.integers(1, 50)), st.randoms())
def test_no_domain_keeps_more_than_its_share_whatever_the_order(sizes, share, most, random):
    rows = [(f"d{domain}", f"text {domain} {number}") for domain, size in enumerate(sizes) for number in range(size)]

    def kept(rows):
        dropped = balance([domain for domain, _ in rows], [text for _, text in rows], share, most, seed=3)
        assert all(drop.reason is Reason.SURPLUS for drop in dropped.values())
        return {row for place, row in enumerate(rows) if place not in dropped}

    left = kept(rows)
    counts = Counter(domain for domain, _ in left)
    assert set(counts) == {domain for domain, _ in rows}
    assert max(counts.values()) <= (most or 40)
    if share is not None and share * len(sizes) >= 1 and most is None:
        assert max(counts.values()) <= share * len(left) + 1e-6
        more = sum(min(size, max(counts.values()) + 1) for size in sizes)
        # The largest that can be: one more for each domain would be too many, or there is no more.
        assert max(counts.values()) + 1 > share * more or max(counts.values()) == max(sizes)
    if share is most is None:
        assert len(left) == len(rows)
    random.shuffle(rows)
    assert kept(rows) == left


def test_too_few_domains_for_a_share_are_made_equal():
    assert largest_size(Counter(a=10, b=4), 0.3) == 4
    assert largest_size(Counter(a=10, b=4), 0.5) == 4
    assert largest_size(Counter(a=10, b=4), 0.6) == 6
    assert largest_size(Counter(a=10), 0.2) == 10


def test_another_seed_keeps_other_problems():
    texts = [str(number) for number in range(50)]
    assert balance(["d"] * 50, texts, None, 10, seed=1).keys() != balance(["d"] * 50, texts, None, 10, seed=2).keys()


@pytest.mark.parametrize(
    ("other", "answer", "alike"),
    [
        (LONG, "16", True),
        (LONG.upper().replace(" ", "\n "), "16", True),
        (LONG.replace("farmer", "peasant"), "16", True),
        (LONG.replace("12", "13"), "16", False),  # another number is another problem
        (LONG, "17", False),
        ("Twelve cows stand around. How many animals are left? 12 7 3", "16", False),
    ],
)
def test_near_duplicates_have_like_words_and_the_same_numbers_and_answer(other, answer, alike):
    for texts, answers in (([LONG, other], ["16", answer]), ([other, LONG], [answer, "16"])):
        dropped = near_duplicates(texts, answers, 0.8)
        assert len(dropped) == alike
        for place, drop in dropped.items():
            assert drop.reason is Reason.DUPLICATE
            assert texts[1 - place][:20] in drop.detail


words = st.lists(st.sampled_from(["sum", "of", "red", "blue", "cats", "7"]), min_size=1, max_size=9).map(" ".join)


@settings(max_examples=60, deadline=timedelta(seconds=5))
@given(st.lists(words, min_size=1, max_size=12), st.randoms())
def test_one_of_each_group_of_near_duplicates_is_kept_whatever_the_order(texts, random):
    def kept(texts):
        dropped = near_duplicates(texts, ["1"] * len(texts), 0.7)
        assert all(drop.reason is Reason.DUPLICATE for drop in dropped.values())
        return sorted(text for place, text in enumerate(texts) if place not in dropped)

    left = kept(texts)
    assert len(set(left)) == len(left)
    # A text is dropped only for another that is like it.
    for text in texts:
        likes = [
            each for each in set(texts) - {text}
            if each.count("7") == text.count("7") and jaccard(shingles_of(each), shingles_of(text)) >= 0.7
        ]  # fmt: skip
        assert text in left or likes
    random.shuffle(texts)
    assert kept(texts) == left


def test_what_minhash_only_suspects_is_compared_itself():
    def words(*changed):
        return " ".join("other" if number in changed else f"word{chr(97 + number)}" for number in range(20))

    base, others = words(), [words(*range(3, 3 + size)) for size in range(1, 8)]
    likeness = [jaccard(shingles_of(base), shingles_of(other)) for other in others]
    assert likeness[0] > 0.8 > likeness[-1] > 0.3
    for threshold in (0.4, 0.5, 0.6, 0.7, 0.8):
        found = [bool(near_duplicates([base, other], ["1", "1"], threshold)) for other in others]
        assert found == [each >= threshold for each in likeness]


def test_a_thousand_problems_of_a_generator_are_no_duplicates():
    texts = [f"State the final answer to this problem, please: {a} + {b} =" for a in range(32) for b in range(32)]
    assert near_duplicates(texts, [str(eval(text[49:-2])) for text in texts], 0.8) == {}


def test_a_question_of_a_benchmark_is_found_within_a_longer_prompt():
    asked = {"short": ["What is love?"], "long": ["Nothing of the kind was ever asked here before", LONG]}
    texts = [
        f"Think step by step, and end with the answer in a box. {LONG.upper()}",
        LONG.replace("goats", "sheep"),
        LONG[: len(LONG) // 3],
        "3 + 4 =",
        "Tell me: what is love?",
        "What is love worth?",
        "",
    ]
    found = overlaps(texts, asked, 0.5)
    assert sorted(found) == [0, 1, 4]
    assert found[0].detail.startswith("long, 1.00 of: A farmer")
    assert found[4].detail.startswith("short, 1.00 of: What is love?")
    assert {drop.reason for drop in found.values()} == {Reason.BENCHMARK}
    assert sorted(overlaps(texts, asked, 0.95)) == [0, 4]
    assert overlaps(texts, {}, 0.5) == {}


def test_a_single_hit_among_the_guesses_drops_a_problem():
    def problem(*rights):
        return SampledProblem(0, "1 =", [1], [Sample(f"{n}", [1], right) for n, right in enumerate(rights)])

    found = guessed([problem(False, False), problem(False, True), problem(True, True)])
    assert {place: drop.detail for place, drop in found.items()} == {
        1: "1 of 2 guesses right: 1",
        2: "2 of 2 guesses right: 0",
    }


def test_guesses_leave_no_room_for_reasoning_and_are_judged_with_their_beginning():
    guess = Guess(begin="answer", system="Only the answer.")
    assert guess.prompt("3 + 4 =") == "3 + 4 = answer"
    user = {"role": "user", "content": "3 + 4?"}
    own = {"role": "system", "content": "Think."}
    assert guess.prompt([own, user]) == [{"role": "system", "content": "Only the answer."}, user]
    seen = []
    reward = guess.judged_by(lambda completions, answer: seen.extend(completions) or [1.0] * len(completions))
    message = [{"role": "assistant", "content": "7"}]
    assert reward(completions=["7", message], answer=["7", "7"]) == [1.0, 1.0]
    assert seen == ["answer 7", message]


@pytest.mark.parametrize("name", DEFAULTS)
def test_rules_that_cannot_be_are_refused(name):
    for wrong in (0, -1, True, "x", 1.5):
        with pytest.raises(ValueError, match=f"{name} must be .*, got {wrong!r}") as error:
            Rules(**{name: wrong})
        assert len(str(error.value).splitlines()) == 1
    assert getattr(Rules(**{name: DEFAULTS[name]}), name) == DEFAULTS[name]


def test_guesses_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        Guess(temperature=0)
    with pytest.raises(ValueError, match="max_completion_length must be 1 or more, got 0"):
        Guess(max_completion_length=0)
    with pytest.raises(ValueError, match=r"max_completion_length must be a whole number, got 1\.5"):
        Guess(max_completion_length=1.5)


def test_a_system_message_is_no_part_of_the_question_and_a_domain_comes_first():
    system, user = {"role": "system", "content": "True or false?"}, {"role": "user", "content": "3 + 4?"}
    rows = {"prompt": [[system, user], "3 + 4 ="], "answer": ["7", "7"], "task": ["sums", "sums"]}
    assert [each.text for each in questions_of(rows)] == ["3 + 4?", "3 + 4 ="]
    assert [each.domain for each in questions_of(rows)] == ["sums", "sums"]
    assert [each.domain for each in questions_of(rows | {"domain": ["a", "b"]})] == ["a", "b"]


def test_the_funnel_has_a_place_for_every_reason():
    funnel = Funnel(5, Counter(dict.fromkeys(Reason, 1)), STEPS)
    assert list(funnel.steps().values()) == [15, 11, 10, 9, 8, 6, 5]
    assert list(funnel.reasons()) == [str(reason) for reason in Reason]
    assert "in the paper" not in funnel.table()
