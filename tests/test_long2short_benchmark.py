"""The long2short benchmark: what it runs, how it counts time, and the page that it writes."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    # By its file: a folder of these tests has the same name.
    spec = importlib.util.spec_from_file_location("long2short_benchmark", ROOT / "benchmarks" / "long2short.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    return module


def leave(benchmark, seed, rejection):
    """Leave what a seed of the SmolLM2 recipe leaves, with this accuracy of the model of rejection sampling."""
    run = benchmark.RUNS / "smollm2_long2short" / str(seed)
    models = {"long": (0.6, 20.0), "merge": (0.4, 10.0), "rejection": (rejection, 15.0), "short": (0.4, 9.0)}
    figures = {
        name: {"all": {"accuracy": accuracy, "accuracy_interval": [accuracy - 0.1, accuracy + 0.1], "tokens": tokens,
                       "tokens_interval": [tokens - 1, tokens + 1], "problems": 32, "samples": 8}}
        for name, (accuracy, tokens) in models.items()
    }  # fmt: skip
    changes = {
        name: {
            "accuracy": {"difference": accuracy - 0.6, "interval": [-0.3, 0.3]},
            "tokens": {"difference": tokens - 20.0, "interval": [-12.0, -4.0]},
        }
        for name, (accuracy, tokens) in models.items()
    }
    for step, seconds in (("merge", 100), ("evaluation", 200), ("evaluation.old1", 9000)):
        (run / step).mkdir(parents=True)
        content = {"models": figures, "compared_with_the_first": changes}
        (run / step / "evaluation.json").write_text(json.dumps(content))
        (run / step / "step.json").write_text("{}")
        (run / step / "status.json").write_text(json.dumps({"seconds": seconds}))
    # The pipeline itself was called again when everything was done.
    (run / "status.json").write_text(json.dumps({"state": "finished", "seconds": 3}))
    (run / "config.yaml").write_text("")


def test_the_page_of_one_seed(benchmark):
    leave(benchmark, 0, rejection=0.7)
    page = benchmark.write(benchmark.PAGES["smollm2_long2short"], "smollm2_long2short", [0])
    assert (
        "32 held-out problems, 8 responses each at temperature 1; seed 0, differences to the long model with" in page
    )
    assert "a seed took 5 minutes" in page
    assert "| long | 0.600 | 20.0 | - | - | - | - | - |" in page
    assert (
        "| rejection | 0.700 | 15.0 | +10.0 [-30.0, +30.0] | -25.0 [-60.0, -20.0] | 1 | -5.9 points, -51 % | 2 |"
        in page
    )
    assert (
        "| merge | 0.400 | 10.0 | -20.0 [-30.0, +30.0] | -50.0 [-60.0, -20.0] | 2 | -4.9 points, -35 % | 1 |" in page
    )
    assert page == (benchmark.RESULTS / "smollm2_long2short.md").read_text()
    for picture in ("smollm2_long2short.png", "smollm2_long2short_alphas.png"):
        assert f"]({picture})" in page
        assert (benchmark.RESULTS / picture).stat().st_size > 10_000


def test_intervals_of_several_seeds_are_over_seeds(benchmark):
    for seed, rejection in enumerate((0.6, 0.8)):
        leave(benchmark, seed, rejection)
    page = benchmark.write(benchmark.PAGES["smollm2_long2short"], "smollm2_long2short", [0, 1])
    # 12.706 standard errors of 10 points.
    assert "| rejection | 0.700 | 15.0 | +10.0 [-117.1, +137.1] | -25.0 [-25.0, -25.0] | 1 |" in page
    assert "| 1 | 0.600 / 20.0 | 0.400 / 10.0 | 0.800 / 15.0 | 0.400 / 9.0 |" in page


def test_the_pipeline_decides_what_is_out_of_date(benchmark, monkeypatch):
    leave(benchmark, 0, rejection=0.7)
    called = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: called.append(command) or subprocess.CompletedProcess(command, 0)
    )
    for seed in (0, 1):
        benchmark.run("smollm2_long2short", seed)
    folder = benchmark.RUNS / "smollm2_long2short"
    assert [command[2:] for command in called] == [
        ["+recipe=smollm2_long2short", "seed=0", f"resume={folder / '0'}"],
        ["+recipe=smollm2_long2short", "seed=1", f"hydra.run.dir={folder / '1'}"],
    ]
