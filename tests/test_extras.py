"""What a missing extra is told by: in one sentence, as soon as something that needs it is made."""

import importlib.util

import pytest

from k15_plugins import extras
from k15_plugins.curation.rules import Rules
from k15_plugins.megatron.model import families
from k15_plugins.rewards.final_answer import MathReward, ReasoningGymReward
from k15_plugins.runs import megatron

CONFIG = {
    "backend": {},
    "model": {"lora": None},
    "stage": {"_target_": "k15_plugins.stages.reinforce.reinforce"},
    "trainer": {"_target_": "k15_plugins.trainers.mirror_descent.MirrorDescentTrainer"},
}


@pytest.fixture
def without(monkeypatch):
    """Hide modules, as if they were not installed."""

    def hide(*hidden):
        for module in (extras, families, megatron):
            monkeypatch.setattr(
                module, "find_spec", lambda name: None if name in hidden else importlib.util.find_spec(name)
            )

    return hide


@pytest.mark.parametrize(("reward", "module"), [(MathReward, "math_verify"), (ReasoningGymReward, "reasoning_gym")])
def test_a_reward_is_refused_when_it_is_made(reward, module, without):
    reward()
    without(module)
    with pytest.raises(ModuleNotFoundError) as error:
        reward()
    assert str(error.value) == (
        f"{reward.__name__} needs {module}, which is not installed; run pip install '.[verifiers]' in a checkout of "
        "k15_plugins."
    )


def test_a_search_for_duplicates_is_refused_when_its_rules_are_made(without):
    without("datasketch")
    assert Rules(duplicates=None).guesses == 8
    with pytest.raises(ModuleNotFoundError) as error:
        Rules()
    assert str(error.value) == (
        "stage.rules.duplicates needs datasketch, which is not installed; run pip install '.[curation]' in a checkout "
        "of k15_plugins."
    )


@pytest.mark.parametrize(
    ("hidden", "changes", "message"),
    [
        ("megatron", {}, r"needs the package megatron-core, which is not installed; run pip install '\.\[megatron\]'"),
        ("psutil", {}, r"needs the package psutil, which is not installed; run pip install '\.\[megatron\]'"),
        ("megatron.bridge", {"backend": {"bridge": True}}, "backend.bridge=true needs megatron-bridge"),
        ("nothing", {"model": {"lora": {"r": 2}}}, "model.lora must be null with backend=megatron"),
        ("nothing", {"stage": {"_target_": "k15_plugins.stages.sft.sft"}, "trainer": None}, "recipe's stage is sft"),
    ],
)
def test_megatron_is_refused_when_the_config_is_composed(hidden, changes, message, without):
    pytest.importorskip("megatron.core")
    megatron.check_stage(CONFIG)
    without(hidden)
    with pytest.raises(ValueError, match=message):
        megatron.check_stage(CONFIG | changes)
