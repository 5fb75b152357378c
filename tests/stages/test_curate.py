"""The stage that curates: what it leaves, how it goes on after a kill, what it refuses before a model is loaded."""

import json
import shutil
from collections import Counter

import pytest
from matplotlib.image import imread
from omegaconf import OmegaConf
from runs.test_conf import compose

from k15_plugins.curation.reasons import Reason
from k15_plugins.files.jsonl import read_lines
from k15_plugins.runs.cli import prepare
from k15_plugins.runs.model_names import check_models
from k15_plugins.samples import Sample, SampledProblem
from k15_plugins.stages import curate as stage
from k15_plugins.stages.problems import build_problems
from k15_plugins.stages.reinforce import build_sampler
from k15_plugins.tasks.reasoning_gym import reasoning_gym_problems

SUMS = {"name": "chain_sum", "config": {"min_digits": 1, "max_digits": 1, "min_terms": 3, "max_terms": 6}}
BAD = [
    {"prompt": "What is 1 + 1? (A) 1 (B) 2 (C) 3", "answer": "2", "domain": "words"},
    {"prompt": "Prove that 1 + 1 is 2.", "answer": "2", "domain": "words"},
    {"prompt": "Is 2 + 2 even?", "answer": "yes", "domain": "words"},
    {"prompt": "5 +  3 - 2 =", "answer": "6", "domain": "copies"},
    {"prompt": "5 + 3 -  2 =", "answer": "6", "domain": "copies"},
    {"prompt": "8 - 8 + 8 + 1 =", "answer": "9", "domain": "in a benchmark"},
    # The last number, which the model guesses.
    *({"prompt": f"{n} + {n} - 4 + 9 =", "answer": "9", "domain": "last"} for n in range(1, 6)),
]
FILES = ("curated.jsonl", "curated_held_out.jsonl", "dropped.jsonl", "funnel.md", "metrics.jsonl")


def prepared(*words):
    config = prepare(OmegaConf.create(compose("+recipe=curate", *words)))[0]
    check_models(config)
    return config


def call(run_dir, *words):
    config = prepared(*words)
    run_dir.mkdir(exist_ok=True)
    options = {key: value for key, value in config["stage"].items() if key != "_target_"}
    stage.curate(config, run_dir, **options)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A task with something for every filter, the sums of the embedded model among it."""
    place = tmp_path_factory.mktemp("problems")
    template = "{metadata[expression]} ="
    train, held_out = reasoning_gym_problems([SUMS], train_size=24, held_out_size=8, template=template)
    rows = [{"prompt": row["prompt"], "answer": row["answer"], "domain": "sums"} for row in train]
    measured = [{"prompt": row["prompt"], "answer": row["answer"], "domain": "sums"} for row in held_out]
    benchmark = [{"problem": "8 - 8 + 8 + 1 =", "answer": "9"}]
    return [
        *("task=jsonl", "task.domain_column=domain", f"task.path={write(place / 'raw.jsonl', [*BAD, *rows])}"),
        f"task.held_out={write(place / 'held_out.jsonl', measured)}",
        f"stage.benchmarks={{aime_2024: {write(place / 'aime.jsonl', benchmark)}}}",
        *("stage.rules.max_domain_size=15", "trainer.args.max_completion_length=64", "+trainer.args.use_cpu=true"),
    ]


@pytest.fixture(scope="module")
def run_dir(words, tmp_path_factory):
    """A real run on the embedded model."""
    place = tmp_path_factory.mktemp("curate") / "run"
    call(place, *words)
    return place


def results(run_dir):
    return [(run_dir / name).read_text() for name in FILES]


def test_every_problem_is_kept_or_dropped_with_its_reason(words, run_dir):
    kept, dropped = read_lines(run_dir / "curated.jsonl"), read_lines(run_dir / "dropped.jsonl")
    raw = read_lines(next(run_dir.parent.parent.glob("problems*/raw.jsonl")))
    assert sorted(line["row"] for line in [*kept, *dropped]) == list(range(len(raw)))
    for line in [*kept, *dropped]:
        assert raw[line["row"]] == {name: line[name] for name in ("prompt", "answer", "domain")}
    reasons = {line["row"]: line["reason"] for line in dropped}
    assert [reasons[row] for row in range(3)] == [Reason.MULTIPLE_CHOICE, Reason.PROOF, Reason.TRUE_FALSE]
    assert sorted([reasons.get(3, ""), reasons.get(4, "")])[-1] == Reason.DUPLICATE
    assert reasons[5] == Reason.BENCHMARK
    assert [reasons.get(row) for row in range(6, 11)].count(Reason.GUESSED) >= 3
    assert all(line["detail"] for line in dropped)
    assert Counter(line["domain"] for line in kept)["sums"] <= 15
    figures = json.loads((run_dir / "metrics.jsonl").read_text())
    assert (figures["problems"], figures["kept"], figures["dropped"]) == (len(raw), len(kept), len(dropped))
    assert figures["pass_rate"] == pytest.approx(sum(line["pass_rate"] for line in kept) / len(kept))
    table = (run_dir / "funnel.md").read_text()
    assert f"| problems | {len(raw)} | 1.000 |" in table
    assert f"| domains balanced | {len(kept)} |" in table
    assert imread(run_dir / "pictures" / "funnel.png").shape[0] > 200


def test_levels_follow_from_the_samples(run_dir):
    sampled = {problem["prompt"]: problem for problem in read_lines(run_dir / "samples/responses/samples.0.jsonl")}
    lines = read_lines(run_dir / "curated.jsonl")
    assert len({line["level"] for line in lines}) > 1
    for line in lines:
        right = sum(sample["right"] for sample in sampled[line["prompt"]]["samples"])
        assert line["pass_rate"] == right / 10 < 1
        assert line["level"] == min(4, (10 - right) // 2)


def test_what_is_kept_is_a_task_whose_levels_the_curriculum_follows(run_dir):
    path, held_out = run_dir / "curated.jsonl", run_dir / "curated_held_out.jsonl"
    columns = ("task.level_column=level", "task.domain_column=domain")
    config = prepare(
        OmegaConf.create(
            compose(
                *("+recipe=kimi_rl", "task=jsonl", f"task.path={path}", f"task.held_out={held_out}", *columns),
                *("reward=exact_match", "sampler=curriculum", "sampler.schedule.hard_level=3"),
                "sampler.schedule.switch_iteration=1",
            )
        )
    )[0]
    problems, _ = build_problems(config)
    lines = read_lines(path)
    assert problems.train["level"][:] == [line["level"] for line in lines]
    assert problems.train["task"][:] == [line["domain"] for line in lines]
    assert len(problems.held_out) == 8
    sampler = build_sampler(config["sampler"], problems.train["level"], 0)
    hard = [row for row, line in enumerate(lines) if line["level"] >= 3]
    assert 0 < len(hard) < len(lines)
    sampler.draw(4)
    assert set(sampler.draw(len(hard)).tolist()) == set(hard)


@pytest.mark.parametrize("part", ["guesses", "responses"])
def test_a_run_that_is_killed_while_it_samples_goes_on_to_the_same_files(words, run_dir, tmp_path, part, capsys):
    stopped = tmp_path / "run"
    shutil.copytree(run_dir, stopped)
    for name in FILES:
        (stopped / name).unlink()
    file = stopped / "samples" / part / "samples.0.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:5]) + lines[5][:40])
    if part == "guesses":
        shutil.rmtree(stopped / "samples" / "responses")
    call(stopped, *words)
    assert "k15: 5 of " in capsys.readouterr().out
    assert results(stopped) == results(run_dir)


def test_samples_of_other_problems_are_refused(words, run_dir, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(run_dir, other)
    file = other / "samples" / "guesses" / "samples.0.jsonl"
    file.write_text(file.read_text().replace(" = answer", " = anders"))
    with pytest.raises(ValueError, match=r"samples/guesses holds samples of other problems than the task gives now"):
        call(other, *words)


@pytest.fixture
def fake(monkeypatch):
    """Samplings without a model: each is noted, and right where the rule says so."""
    asked, loaded = [], []

    def build_model(node, *problems):
        loaded.append(node)
        return node, None

    def collect(sampling, model, tokenizer, into):
        asked.append((into.name, model, sampling))
        prompts = list(sampling.problems["prompt"])
        right = fake.right[into.name]
        return [
            SampledProblem(
                row, prompt, [1], [Sample("7", [1], number < right(row)) for number in range(sampling.num_samples)]
            )
            for row, prompt in enumerate(prompts)
        ]

    monkeypatch.setattr(stage, "build_model", build_model)
    monkeypatch.setattr(stage, "collect", collect)
    fake.right = {"guesses": lambda row: 0, "responses": lambda row: row % 11}
    fake.asked, fake.loaded = asked, loaded
    return fake


SMALL = ("task.train_size=22", "task.held_out_size=2")


def test_each_sampling_has_its_own_model_and_settings(fake, tmp_path):
    own = ("stage.guess.model=k15_plugins/assets/tiny_reasoner", "stage.guess.temperature=0.7")
    call(tmp_path, *SMALL, *own, "stage.guess.max_completion_length=3", "stage.batch_size=7")
    (first, guesser, guesses), (second, model, responses) = fake.asked
    assert (first, second) == ("guesses", "responses")
    assert guesser == {"_target_": "k15_plugins.models.hub", "name": "k15_plugins/assets/tiny_reasoner"}
    assert model == {"_target_": "k15_plugins.models.tiny"}
    args = [sampling.config["trainer"]["args"] for sampling in (guesses, responses)]
    assert [each["temperature"] for each in args] == [0.7, 1.2]
    assert [each["max_completion_length"] for each in args] == [3, 96]
    assert [(each.num_samples, each.batch_size) for each in (guesses, responses)] == [(8, 7), (10, 7)]
    assert all(prompt.endswith(" = answer") for prompt in guesses.problems["prompt"])
    assert guesses.problems["answer"][:] == responses.problems["answer"][:]
    # Rows 10 and 21 of 22 are solved in all of 10.
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["kept"] == 20
    assert len(fake.loaded) == 2


def test_one_model_is_loaded_once_and_filters_can_be_left_out(fake, tmp_path):
    call(tmp_path / "both", *SMALL)
    assert len(fake.loaded) == 1
    off = ("stage.rules.guesses=null", "stage.rules.duplicates=null", "stage.rules.exclude=false")
    fake.asked.clear()
    call(tmp_path / "one", *SMALL, *off, "stage.rules.drop_unsolved=true", "stage.rules.drop_solved=false")
    assert [name for name, *_ in fake.asked] == ["responses"]
    assert {line["reason"] for line in read_lines(tmp_path / "one" / "dropped.jsonl")} == {Reason.UNSOLVED}
    table = (tmp_path / "one" / "funnel.md").read_text()
    assert "neither too easy nor too hard" in table
    assert "hard to guess" not in table
    assert "can be verified" not in table


def test_conversations_are_guessed_by_a_system_message_and_stay_conversations(fake, tmp_path):
    call(tmp_path, "task=sums_of_two", *SMALL)
    system = prepared()["stage"]["guess"]["system"]
    for messages in fake.asked[0][2].problems["prompt"]:
        assert [message["role"] for message in messages] == ["system", "user"]
        assert messages[0]["content"] == system
    path = tmp_path / "curated.jsonl"
    read = ("task=jsonl", f"task.path={path}", "task.conversational=true", "task.held_out=null")
    problems, _ = build_problems(prepared(*read))
    kept = [line["prompt"] for line in read_lines(path)]
    assert problems.train["prompt"][:] == kept
    assert kept[0][0] == {"role": "system", "content": "Add."}


@pytest.mark.parametrize(
    ("which", "right", "told"),
    [
        (
            "guesses",
            1,
            "the filter 'hard to guess' must leave problems, got 0 of 22 (22 guessed without reasoning); set",
        ),
        ("responses", 10, "the filter 'neither too easy nor too hard' must leave problems, got 0 of 22 (22 solved in"),
    ],
)
def test_a_filter_that_leaves_nothing_is_refused(fake, tmp_path, which, right, told):
    fake.right[which] = lambda row: right
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is compared below
        call(tmp_path, *SMALL)
    assert str(error.value).startswith(told)
    assert len(str(error.value).splitlines()) == 1
