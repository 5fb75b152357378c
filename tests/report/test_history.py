"""Reading a run's records: curves, the success map, what to read, and what a resume keeps."""

import json
from statistics import stdev
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes

from k15_plugins.files.jsonl import read_lines
from k15_plugins.report.curves import draw_run, draw_sweep
from k15_plugins.report.history import curve, last_figures, success_map
from k15_plugins.report.page import pick_rollouts, write_report
from k15_plugins.report.recorder import RunRecorder


def metric_lines(iterations: int) -> list[dict]:
    """Two updates an iteration; held-out figures before the first and after each second one."""
    lines = [{"step": 0, "iteration": 0, "seconds": 0.0, "eval_k15/accuracy": 0.0}]
    for i in range(iterations):
        first = {"step": 2 * i + 1, "iteration": i, "reward": i / 10, "k15/accuracy": i / 10, "k15/rho_abs_mean": 0.0}
        second = {"step": 2 * i + 2, "iteration": i, "k15/rho_abs_mean": 0.2}
        lines += [first | {"seconds": 4.0 * i + 3}, second | {"seconds": 4.0 * i + 4}]
        if i % 2:
            lines.append(
                {"step": 2 * i + 2, "iteration": i, "seconds": 4.0 * i + 4, "eval_k15/accuracy": (i + 1) / 10}
            )
    return lines


def rollout(problem: int, iteration: int, right: bool, level: int = 0, reward: float = 0.0, tokens: int = 5) -> dict:
    texts = {"prompt": f"problem {problem}", "response": "some thoughts"}
    numbers = {"step": 2 * iteration, "rewards": {"answer": reward}, "truncated": False, "advantage": 0.0}
    facts = {"problem": problem, "iteration": iteration, "right": right, "level": level, "reward": reward}
    return texts | numbers | facts | {"tokens": tokens}


def test_a_curve_averages_an_iteration_and_puts_held_out_figures_where_they_were_measured():
    x, y = curve(metric_lines(4), "k15/rho_abs_mean")
    assert x.tolist() == [0, 1, 2, 3]
    assert y == pytest.approx([0.1] * 4)
    x, y = curve(metric_lines(4), "eval_k15/accuracy")
    assert x.tolist() == [0, 2, 4]
    assert y.tolist() == [0.0, 0.2, 0.4]
    assert len(curve(metric_lines(4), "nothing")[0]) == 0
    assert last_figures(metric_lines(4))["reward"] == 0.3


def test_the_success_map_sorts_by_level_then_first_success_and_keeps_the_last_rate():
    lines = [
        rollout(7, 0, right=False, level=1),
        rollout(3, 1, right=True),
        rollout(3, 1, right=False),
        rollout(9, 0, right=True),
        rollout(9, 2, right=False),
        rollout(7, 2, right=True, level=1),
    ]
    rates, levels = success_map(lines)
    assert levels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(rates, [[1, 1, 0], [np.nan, 0.5, 0.5], [0, 0, 1]])


def test_rollouts_to_read_are_of_the_last_iteration_of_different_problems_and_of_usual_length():
    lines = [rollout(0, 7, True, reward=9.0), *(rollout(p, 8, True, reward=1.0, tokens=p) for p in (1, 2, 2, 3, 9))]
    lines += [rollout(4, 8, False, reward=-1.0, tokens=4)]
    best, worst = pick_rollouts(lines, 2)
    assert [line["problem"] for line in best] == [2, 3]
    assert [line["problem"] for line in worst] == [4, 2]


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"step": 1}\n{"step": 2')
    assert read_lines(tmp_path / "x.jsonl") == [{"step": 1}]
    assert read_lines(tmp_path / "missing.jsonl") == []


@pytest.mark.parametrize(("reached", "steps", "rollout_steps"), [(0, [], []), (3, [0, 1, 2, 3], [0, 2])])
def test_a_resumed_run_keeps_what_lies_before_its_checkpoint(tmp_path, reached, steps, rollout_steps):
    lines = "".join(json.dumps(line) + "\n" for line in [*metric_lines(1), {"step": 3, "iteration": 1}])
    (tmp_path / "metrics.jsonl").write_text(lines + '{"step": 4, "iteration": 1}\n{"ste')
    rolled = [rollout(0, i, True) for i in range(4)]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rolled))
    recorder = RunRecorder(tmp_path)
    state = SimpleNamespace(is_world_process_zero=True, global_step=reached, max_steps=8)
    recorder.on_train_begin(SimpleNamespace(eval_on_start=False), state, None)
    assert [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")] == steps
    assert [line["step"] for line in read_lines(tmp_path / "rollouts.jsonl")] == rollout_steps
    recorder.on_log(None, state, None, {"reward": float("nan")})
    # JSON knows no NaN; other readers than Python's would stumble over it.
    assert read_lines(tmp_path / "metrics.jsonl")[-1]["reward"] is None
    assert recorder.iteration == (1 if reached else 0)


def test_the_report_of_a_run_that_has_hardly_begun(tmp_path):
    with pytest.raises(ValueError, match=r"is not the folder of a run, for it has no config\.yaml"):
        write_report(tmp_path)
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    assert "config.yaml" in write_report(tmp_path).read_text()


def test_the_report_escapes_what_a_model_wrote(tmp_path):
    (tmp_path / "config.yaml").write_text("trainer: {args: {length_penalty_weight: 1.0}}\n")
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metric_lines(20)))
    line = rollout(1, 0, True) | {
        "response": "<script>alert(1)</script>",
        "prompt": [{"role": "user", "content": "hi"}],
    }
    (tmp_path / "rollouts.jsonl").write_text(json.dumps(line) + "\n")
    page = write_report(tmp_path).read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "[user] hi" in page
    names = {path.stem for path in (tmp_path / "report").glob("*.png")}
    assert names == {"reward", "accuracy", "rho", "success_map"}


def test_a_sweep_is_drawn_though_its_jobs_ended_at_different_times(tmp_path):
    for metric in ("eval_k15/accuracy", None):
        draw_sweep("a", {"a": [metric_lines(4), metric_lines(2)], "b": [[]]}, metric, tmp_path / "sweep.png")
        assert (tmp_path / "sweep.png").stat().st_size > 1000


def test_the_band_of_a_sweep_is_the_deviation_of_its_table(monkeypatch, tmp_path):
    bands = []
    monkeypatch.setattr(Axes, "fill_between", lambda axes, x, low, high, **_: bands.append((x, low, high)))
    jobs = [[{"step": 1, "iteration": 0, "reward": value}] for value in (1.0, 2.0, 4.0)]
    jobs[0].append({"step": 2, "iteration": 1, "reward": 9.0})  # the only job that got so far: no deviation
    draw_sweep("a", {"a": jobs}, "reward", tmp_path / "sweep.png")
    ((x, low, high),) = bands
    assert x.tolist() == [0.0]
    assert ((high - low) / 2).tolist() == pytest.approx([stdev([1.0, 2.0, 4.0])])


def test_supervised_training_shows_its_loss(tmp_path):
    drawn = draw_run(
        [{"step": 1, "iteration": 0, "loss": 1.0}, {"step": 2, "iteration": 1, "loss": 0.5}], [], tmp_path
    )
    assert [path.name for path in drawn] == ["loss.png"]
