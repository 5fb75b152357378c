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
# Family, whether the optimizer is reset before it is saved, the layout of the saving job, and those that load.
SAVED = {
    "llama": ("llama", False, TP2, [TP2, PP2, ONE, TP2_PP2]),
    "llama_interleaved": ("llama", False, PP2 | {"virtual_pipeline": 2}, [TP2]),
    "qwen2": ("qwen2", False, DP2, [DP2, TP2, ONE]),
    "qwen2_reset": ("qwen2", True, DP2, [DP2, ONE]),
    "qwen3_moe": ("qwen3_moe", False, EP2, [EP2, DP2, ONE]),
}
ROUTES = [(saved, layout) for saved, (*_, layouts) in SAVED.items() for layout in layouts]


def name_of(saved, layout):
    return "_".join([saved, *(f"{name}={size}" for name, size in layout.items())])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder for each of them: a model, its checkpoint, and the weights around the update after it."""
    folder = tmp_path_factory.mktemp("saved")
    cases = []
    for name, (family, is_reset, layout, _) in SAVED.items():
        save_model(folder / name / "model", family, tied=name == "llama")
        cases.append({"model": str(folder / name), "layout": layout, "save": True, "reset": is_reset})
    write_case(folder, cases=cases)
    run_job(2, "checkpoint_job.py", folder)
    return folder


@pytest.fixture(scope="module", params=[1, 2, 4])
def resumed(request, saved, tmp_path_factory):
    """What was found by a job of so many ranks that went on with each checkpoint in each layout."""
    folder = tmp_path_factory.mktemp("resumed")
    cases = [
        {"model": str(saved / name), "layout": layout, "save": False, "name": name_of(name, layout)}
        for name, layout in ROUTES
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
