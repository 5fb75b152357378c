"""Measuring several models, or one: what is refused before anything is sampled, and the figures of Codeforces."""

import json

import pytest
from evaluation.test_code_benchmarks import CODEFORCES, SUM, answer, local
from evaluation.test_codeforces_contests import ROUND
from omegaconf import OmegaConf
from runs.test_conf import compose

from k15_plugins import CodeReward
from k15_plugins.report.page import write_report
from k15_plugins.runs.cli import prepare
from k15_plugins.runs.model_names import check_models
from k15_plugins.samples import Sample, SampledProblem
from k15_plugins.stages import evaluate
from k15_plugins.stages import measure as measuring
from k15_plugins.stages.collect import Sampling
from k15_plugins.stages.measure import measure


def test_two_models_do_not_share_their_samples(tmp_path):
    models = {"a/b": "one", "c": "three", "a_b": "two"}
    with pytest.raises(ValueError, match=r"stage\.models: 'a/b' and 'a_b' would share the folder samples/a_b; rename"):
        measure(Sampling({}, tmp_path, [], 1, 1), models)


def prepared(*words):
    config = prepare(OmegaConf.create(compose("+recipe=evaluate", *words)))[0]
    check_models(config)
    return config


def test_the_model_of_the_group_is_measured_where_none_is_named(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(measuring, "build_model", lambda node, *problems: (loaded.append(node), None))
    monkeypatch.setattr(measuring, "collect", lambda *_: [])
    config = prepared("model=tiny")
    measure(Sampling(config, tmp_path, [], 1, 1), {"tiny": None})
    config = prepared("stage.models={here: k15_plugins/assets/tiny_reasoner}")
    measure(Sampling(config, tmp_path, [], 1, 1), {"here": "FOLDER"})
    assert loaded[0] == {"_target_": "k15_plugins.models.tiny"}
    assert (loaded[1]["_target_"], loaded[1]["name"]) == ("k15_plugins.models.hub", "FOLDER")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            [],
            r"stage\.models must name models to measure, got None; set 'stage\.models={mine: FOLDER}', or choose one",
        ),
        (
            ["model=tiny", "stage.models={a: b}"],
            r"stage\.models names models that model=each loads, got k15_plugins\.",
        ),
    ],
)
def test_one_model_or_several(words, told):
    with pytest.raises(ValueError, match=told) as error:
        prepared(*words)
    assert len(str(error.value).splitlines()) == 1


@pytest.fixture
def codeforces(tmp_path, monkeypatch):
    """A run of which one problem is solved by the second sample; nothing is generated."""
    monkeypatch.setattr(evaluate, "quiet", lambda: None)
    hard = CODEFORCES | {"id": "1700/B", "description": "Print their sum, but hard."}
    contests = local(tmp_path, ROUND, name="contests.jsonl")
    words = ["model=tiny", "task=benchmark", "task.name=codeforces", f"task.path={local(tmp_path, CODEFORCES, hard)}"]

    def run(*more):
        config = prepared(*words, "reward=code", *more)
        (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(config))
        stage = {key: value for key, value in config["stage"].items() if key != "_target_"}
        evaluate.evaluate_models(config, tmp_path, **stage)

    def fake(sampling, models):
        assert models == {"tiny": None}
        reward, sampled = CodeReward(), []
        for row, given in enumerate([[SUM, SUM], ["print(0)", SUM]]):
            programs = [answer(program) for program in given]
            place = sampling.problems["problem"][row]
            rewards = reward(None, programs, None, problem=[place] * 2)
            samples = [Sample("", [1, 2], right == 1.0, False, str(right)) for right in rewards]
            sampled.append(SampledProblem(row, "", [1], samples, "codeforces"))
        return {"tiny": sampled}

    monkeypatch.setattr(evaluate, "measure", fake)
    return run, contests


def test_rating_and_percentile_are_figures_of_the_run_and_in_its_report(codeforces, tmp_path):
    run, contests = codeforces
    run(f"stage.standings={contests}", "metric=percentile")
    (line,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = json.loads((tmp_path / "evaluation.json").read_text())["models"]["tiny"]["codeforces"]
    # 500, and 1000 less 50 for the wrong one.
    assert found["contests"]["1700"]["points"] == 1450
    assert found["contests"]["1700"]["rank"] == 2
    assert (line["rating"], line["percentile"]) == (found["rating"], found["percentile"])
    assert line["percentile"] == 75
    assert f"| tiny | {found['rating']:.0f} [" in (tmp_path / "evaluation.md").read_text()
    page = write_report(tmp_path).read_text()
    assert "<th>Codeforces rating</th>" in page
    assert "<td>75.0</td>" in page


def test_without_contests_there_is_accuracy_only(codeforces, tmp_path):
    run, _ = codeforces
    run()
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line["accuracy"] == 0.75
    assert "rating" not in line
    with pytest.raises(ValueError, match="metric must be a figure that the run writes, got percentile"):
        run("metric=percentile")


def test_contests_of_other_problems_are_refused_before_a_model_is_loaded(codeforces, tmp_path, monkeypatch):
    run, _ = codeforces
    monkeypatch.setattr(evaluate, "measure", lambda *_: pytest.fail("a model was loaded"))
    other = local(tmp_path, ROUND | {"contest": "5"}, name="other.jsonl")
    with pytest.raises(
        ValueError, match=r"stage\.standings=\S+ must have the contest of every problem, and lacks the"
    ):
        run(f"stage.standings={other}")
    with pytest.raises(ValueError, match=r"stage\.standings must be a file of contests, got nowhere, which does not"):
        run("stage.standings=nowhere")
    with pytest.raises(
        ValueError, match=r"stage\.standings must go with problems of codeforces, got those of math_50"
    ):
        evaluate._ids({"task": {"name": "math_500"}}, [])
