"""A checkpoint is gone on with in any layout: the update after loading is the one that would have come."""

import json

import pytest
from engine_cases import save_model, write_case
from launch import run_job

TP2 = {"processes": 2, "tensor_parallel": 2}
PP2 = {"processes": 2, "pipeline_parallel": 2}
DP2 = {"processes": 2}
EP2 = {"processes": 2, "expert_parallel": 2}
ONE = {"processes": 1}
TP2_PP2 = {"processes": 4, "tensor_parallel": 2, "pipeline_parallel": 2}
# Each is saved in the first layout, and loaded in the others.
SAVED = {
    "llama": (TP2, [TP2, PP2, ONE, TP2_PP2]),
    "qwen2": (DP2, [DP2, TP2, ONE]),
    "qwen3_moe": (EP2, [EP2, DP2, ONE]),
}
ROUTES = [(family, layout) for family, (_, layouts) in SAVED.items() for layout in layouts]


def name_of(family, layout):
    return "_".join([family, *(f"{name}={size}" for name, size in layout.items())])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder for each family: a model, its checkpoint, and the weights around the update after it."""
    folder = tmp_path_factory.mktemp("saved")
    cases = []
    for family, (layout, _) in SAVED.items():
        save_model(folder / family / "model", family, tied=family == "llama")
        cases.append({"model": str(folder / family), "layout": layout, "save": True})
    write_case(folder, cases=cases)
    run_job(2, "checkpoint_job.py", folder)
    return folder


@pytest.fixture(scope="module", params=[1, 2, 4])
def resumed(request, saved, tmp_path_factory):
    """What was found by a job of so many ranks that went on with each checkpoint in each layout."""
    folder = tmp_path_factory.mktemp("resumed")
    cases = [
        {"model": str(saved / family), "layout": layout, "save": False, "name": name_of(family, layout)}
        for family, layout in ROUTES
        if layout["processes"] == request.param
    ]
    write_case(folder, cases=cases)
    run_job(request.param, "checkpoint_job.py", folder)
    return {case["name"]: json.loads((folder / f"{case['name']}.json").read_text()) for case in cases}


def test_the_next_update_is_the_one_that_would_have_come(resumed):
    assert resumed
    for name, result in resumed.items():
        assert result["loaded"] == 0, name
        assert result["next"] < 5e-7, name
        assert result["moved"] > 1e-4, name
