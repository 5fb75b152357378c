"""The wheel is whole: what it holds runs from any folder, without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder with nothing in it but what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "installed")
    return folder / "installed"


def run(installed, folder, *words):
    env = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=True
    ).stdout


def test_the_wheel_composes_every_recipe(installed, tmp_path):
    where = run(installed, tmp_path, "-c", "import k15_plugins; print(k15_plugins.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    composed = run(installed, tmp_path, "-m", "k15_plugins", "+recipe=smoke", "--cfg", "job", "--resolve")
    assert yaml.safe_load(composed)["trainer"]["args"]["max_steps"] == 4
    recipes = {path.name for path in (ROOT / "k15_plugins" / "conf" / "recipe").glob("*.yaml")}
    assert {path.name for path in (installed / "k15_plugins" / "conf" / "recipe").glob("*.yaml")} == recipes


def test_the_wheel_trains_the_embedded_model(installed, tmp_path):
    out = run(installed, tmp_path, "-m", "k15_plugins", "+recipe=smoke", "hydra.run.dir=run")
    assert "iteration 2/2" in out
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
    assert "data:image/png;base64," in (tmp_path / "run" / "report.html").read_text()
