"""Random wrong configs: each is taken, or refused in one sentence, before a model is loaded."""

import copy
import random

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from test_conf import compose
from transformers import PreTrainedModel

from k15_plugins.models import TINY
from k15_plugins.runs.before import check_before_stage
from k15_plugins.runs.cli import prepare, sentence
from k15_plugins.runs.model_names import check_models
from k15_plugins.stages.problems import build_problems
from k15_plugins.stages.reinforce import build_parts

SMALL = ["task.train_size=40", "task.held_out_size=8"]
RECIPES = {
    "kimi_rl": SMALL,
    "grpo": [*SMALL, "sampler=curriculum"],
    "long2short_rl": [*SMALL, f"model.name={TINY}", "+model.lora._target_=peft.LoraConfig"],
    "long2short_rejection": [*SMALL, f"model.name={TINY}"],
    "long2short_dpo": [*SMALL, f"model.name={TINY}"],
    "warm_start": SMALL,
    "curate": SMALL,
}
WRONG = [
    -1,
    0,
    0.5,
    3,
    1e30,
    float("nan"),
    float("inf"),
    "",
    "abc",
    "nowhere.at_all",
    "math.pi",
    True,
    None,
    [],
    [1],
    {},
]
WRONG += [{"a": 1}, {"_target_": "k15_plugins.rewards.MathReward"}]


def places(node: dict, path: tuple = ()) -> list[tuple]:
    """Return the paths of all keys."""
    found = [(*path, key) for key in node]
    for key, child in node.items():
        if isinstance(child, dict):
            found += places(child, (*path, key))
    return found


def mutate(config: dict, rng: random.Random) -> str:
    """Make one mistake in a config; return where."""
    *parents, key = rng.choice(places(config))
    node = config
    for parent in parents:
        node = node[parent]
    kind = rng.choice(["delete", "misspell", "wrong", "wrong", "wrong"])
    if kind == "delete":
        del node[key]
    elif kind == "misspell":
        place = rng.randrange(len(key))
        node[key[:place] + rng.choice("abcdexyz_") + key[place + 1 :]] = node.pop(key)
    else:
        node[key] = copy.deepcopy(rng.choice(WRONG))
    return f"{kind} {'.'.join([*parents, key])} -> {node.get(key, 'gone')!r}"


def refusal(config: dict, run_dir) -> str | None:
    """Check a config as the command and its job do before a model is loaded."""
    try:
        checked, _ = prepare(OmegaConf.create(config))
        check_models(checked)
        check_before_stage(checked, run_dir)
        if checked["stage"]["_target_"].endswith("reinforce"):
            build_parts(checked, run_dir)
        elif (checked.get("task") or {}) and checked.get("reward"):
            build_problems(checked)
    except (ValueError, OmegaConfBaseException) as error:
        return sentence(error)
    return None


@pytest.mark.parametrize("part", range(len(RECIPES)))
def test_a_wrong_config_is_taken_or_refused_in_a_sentence(part, tmp_path, monkeypatch):
    def load(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", load)
    monkeypatch.setattr(PreTrainedModel, "__init__", load)
    recipe = list(RECIPES)[part]
    whole = compose(f"+recipe={recipe}", *RECIPES[recipe])
    assert refusal(whole, tmp_path) is None
    rng = random.Random(part)
    for _ in range(50):
        config = copy.deepcopy(whole)
        what = mutate(config, rng)
        try:
            told = refusal(config, tmp_path)
        except Exception as error:
            raise AssertionError(f"{recipe}: {what}") from error
        if told is not None:
            assert "\n" not in told, what
            assert told.endswith((".", "?")), f"{what}: {told}"
