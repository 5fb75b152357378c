"""What the page of a run says beside its curves: what was done, how fast, and answers to the same problems."""

import json
from pathlib import Path

import hydra
import pytest
import yaml
from omegaconf import OmegaConf

import k15_plugins.runs.cli  # noqa: F401 - registers the resolver
from k15_plugins.report.answers import answers_over_time
from k15_plugins.report.card import write_cards
from k15_plugins.report.describe import what_was_done
from k15_plugins.report.page import _speed, _summary, write_report
from k15_plugins.runs.conf import CONF

NOWHERE = Path("outputs/nowhere/day/time")


def compose(*overrides: str) -> dict:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(hydra.compose("run", overrides=list(overrides)), resolve=True)


def held_out(iteration: int, problem: int, level: int = 0) -> dict:
    facts = {"prompt": f"problem {problem}", "response": f"thought {iteration}", "answer": str(problem)}
    return facts | {"iteration": iteration, "level": level, "right": True, "truncated": False, "tokens": 3}


def test_the_same_problems_are_shown_at_the_start_the_middle_and_the_end():
    lines = [held_out(i, p, level=p // 2) for i in (0, 10, 20, 30, 40) for p in range(4)]
    first, second, third = answers_over_time(lines, 3, penalty_from=30)
    assert [each["prompt"] for each in (first, second, third)] == ["problem 0", "problem 2", "problem 1"]
    assert second["right_answer"] == "2"
    assert list(second["answers"]) == [
        "start (0 iterations)",
        "middle (20 iterations)",
        "length reward sets in (30 iterations)",
        "end (40 iterations)",
    ]
    assert second["answers"]["middle (20 iterations)"]["response"] == "thought 20"
    assert list(answers_over_time(lines, 1)[0]["answers"])[-1] == "end (40 iterations)"
    assert len(answers_over_time(lines, 1)[0]["answers"]) == 3
    assert answers_over_time([], 3) == []


def test_a_run_says_what_it_trains_on_what():
    said = what_was_done(compose("+recipe=kimi_rl"), NOWHERE)
    assert said.startswith("MirrorDescentTrainer trains model=tiny on 2000 problems of task=reasoning_gym_problems")
    assert "ReasoningGymReward + the length reward x 0.5 from iteration 30 on" in said
    assert "16 problems x 8 rollouts an iteration, 4 updates on them, 40 iterations" in said


@pytest.mark.parametrize("recipe", ["warm_start", "kimi_k15", "grpo", "smollm2_rl"])
def test_every_kind_of_recipe_can_say_what_it_does(recipe):
    assert what_was_done(compose(f"+recipe={recipe}"), NOWHERE).endswith(".")


def test_the_speed_leaves_evaluations_out():
    metrics, rollouts = [], []
    for i in range(4):
        metrics.append({"step": i + 1, "iteration": i, "seconds": 10.0 * i + 8.0 * (i > 1), "reward": 0.0})
        rollouts += [{"iteration": i, "tokens": 30}] * 4
    metrics.insert(2, {"step": 2, "iteration": 1, "seconds": 18.0, "eval_k15/accuracy": 0.5})
    assert _speed(metrics, rollouts).startswith("10.0 s an iteration (median of 3, without evaluations): 0.4 rollouts")
    assert "12 response tokens a second" in _speed(metrics, rollouts)
    assert _speed(metrics[:1], rollouts) == ""
    assert _speed([{"step": 1, "iteration": 0, "accuracy": 1.0}], []) == ""  # of a stage without rollouts


def test_the_table_shows_iterations_as_the_curves_do():
    metrics = [{"step": s + 1, "iteration": s // 2, "reward": 0.0, "k15/rho_abs_mean": s % 2} for s in range(4)]
    assert ("mean |ρ| of an iteration, nats", "0.500", "0.500") in _summary(metrics)


def test_the_cards_name_model_and_recipe(tmp_path):
    run_dir = tmp_path / "outputs" / "run"
    for name in ("checkpoints", "model", ".hydra"):
        (run_dir / name).mkdir(parents=True)
    (run_dir / "config.yaml").write_text(yaml.safe_dump(compose("+recipe=kimi_rl")))
    choices = {"recipe": "kimi_rl", "model": "tiny", "task": "chain_sum"}
    (run_dir / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"choices": choices}}}))
    write_cards(run_dir)
    for name in ("checkpoints", "model"):
        card = (run_dir / name / "README.md").read_text()
        assert "trains model=tiny on 2000 problems of task=chain_sum" in card
        assert "`kimi_rl`" in card
        assert "None" not in card


def test_the_page_shows_the_right_answer_beside_the_answers(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    lines = [held_out(i, p) | {"answer": "forty-two"} for i in (0, 10) for p in range(2)]
    (tmp_path / "held_out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = write_report(tmp_path).read_text()
    assert "right answer: <b>forty-two</b>" in page
    assert page.index("thought 0") < page.index("thought 10")
