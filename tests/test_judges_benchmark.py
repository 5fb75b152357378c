"""The benchmark of reward models: what it runs, and the page that it writes of what the runs left."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread
from runs.test_conf import check, compose

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("judges_benchmark", ROOT / "benchmarks" / "judges.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    return module


def leave(benchmark, arm, rate, seed, accuracy):
    """Leave what a run leaves."""
    place = benchmark.RUNS / arm / rate / str(seed)
    (place / "model").mkdir(parents=True)
    parts = {f"held_out_accuracy_{part}": 0.5 for part in ("right", "wrong", "openers")}
    note = {"held_out_accuracy": accuracy} | parts | ({"held_out_unreadable": 0.125} if arm == "cot" else {})
    (place / "model" / "judge.json").write_text(json.dumps(note))
    (place / "cpu.json").write_text(json.dumps({"cpu_seconds": 100.0 + seed}))
    said = [
        {"response": "7 - 4 + 2", "correct": True, "verdict": arm == "cot", "kind": "sampled"},
        {"response": "7 - 4 + 2 + 1", "correct": False, "verdict": False, "kind": "sampled"},
        {"response": "7 - 4", "correct": False, "verdict": True, "kind": "cut"},
    ]
    (place / "judgements.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))


def test_the_page(benchmark, monkeypatch, capsys):
    first, second = benchmark.RATES[:2]
    for arm, rates in (("classic", (0.6, 0.55)), ("cot", (0.8, 0.9))):
        for rate, accuracy in zip(benchmark.RATES, rates, strict=True):
            leave(benchmark, arm, rate, benchmark.TUNING_SEED, accuracy)
    # Only the best rate of each arm has the other seeds.
    for seed, classic, cot in ((1, 0.6, 0.9), (2, 0.7, 0.9)):
        leave(benchmark, "classic", first, seed, classic)
        leave(benchmark, "cot", second, seed, cot)
        leave(benchmark, "classic_more", first, seed, 0.8)
    monkeypatch.setattr(sys, "argv", ["judges.py", "--seeds", "1", "2"])
    monkeypatch.setattr(benchmark.subprocess, "run", None)  # all of it is finished
    benchmark.main()
    page = (benchmark.RESULTS / "reward_models.md").read_text()
    assert page.strip() == capsys.readouterr().out.strip()
    assert "| classic, a value head | 0.650 [0.015, 1.285] | 0.500 | 0.500 | 0.500 | - | 102 | 84.4 |" in page
    assert "| chain of thought | 0.900 [0.900, 0.900] | 0.500 | 0.500 | 0.500 | 0.125 | 102 | 98.5 |" in page
    # The difference is paired by seed: 0.3 and 0.2.
    assert "0.250 [-0.385, 0.885] less classic, a value head; 0.100 [0.100, 0.100] less classic, 3 times" in page
    # By terms, without the opener.
    assert "| arm | 3 | 4 |" in page
    assert "| classic, a value head | 0.000 | 1.000 |" in page
    assert "| chain of thought | 0.800 | 0.900 |" in page  # the learning rates
    assert f"stage.args.learning_rate={second} seed=...`" in page
    assert imread(benchmark.RESULTS / "reward_models.png").shape[0] > 200


def test_arms_compose(benchmark):
    for arm in benchmark.ARMS.values():
        check(compose(*arm.words))
    # Both judges see the same number of judgements: a pair has two.
    sizes = [compose(*benchmark.ARMS[arm].words)["stage"]["args"] for arm in ("classic", "cot")]
    assert sizes[0]["max_steps"] == sizes[1]["max_steps"]
    assert 2 * sizes[0]["per_device_train_batch_size"] == sizes[1]["per_device_train_batch_size"]
