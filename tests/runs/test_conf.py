"""Every recipe and every option of every group composes, and names only what exists."""

import importlib.util
import re
import sys
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

import k15_plugins.runs.cli  # noqa: F401 - registers the resolver
from k15_plugins import MirrorDescentConfig
from k15_plugins.runs import keys, rewards, values
from k15_plugins.runs.build import build
from k15_plugins.runs.conf import CONF

RECIPES = sorted(path.stem for path in (CONF / "recipe").glob("*.yaml"))
OPTIONS = sorted(f"{path.parent.name}={path.stem}" for path in CONF.glob("*/*.yaml") if path.parent.name != "recipe")


# What a recipe or an option cannot know.
SEVERAL = ["backend.address=first:29500", "trainer.args.vllm_server_host=server"]
NEEDED = {
    "evaluate": ["stage.models={one: some/model}"],
    "select_checkpoint": ["stage.run=some/run"],
    "cooldown": ["model.name=some/model"],
    "long_context": ["model.name=some/model"],
    "long_context_paper": [
        "model.name=some/model",
        "stage.sources.long.documents.path=long.jsonl",
        "stage.sources.cooldown.documents.path=cooldown.jsonl",
    ],
    "sft_32k": ["model.name=some/model"],
    "sft_128k": ["model.name=some/model"],
    "sft_seed": ["model.name=some/model"],
    "sft_paper": ["model.name=some/model"],
    "long2short_merge": ["stage.checkpoints=[some/model,other/model]"],
    "long2short_rejection": ["model.name=some/model"],
    "long2short_dpo": ["model.name=some/model"],
    "long2short_rl": ["model.name=some/model"],
    "reward=code": ["task=code", "task.path=problems.jsonl"],
    "reward=classic_model": ["reward.answer.model=some/model"],
    "reward=cot_model": ["reward.answer.judge.model=some/model"],
    "task=short_functions": ["reward=code"],
    "task=code": ["task.path=problems.jsonl", "reward=code"],
    "write_tests": ["stage.problems=untested.jsonl"],
    "kimi_rl_hub": ["model.name=some/model", "trainer.args.bf16=false"],
    "kimi_rl_7b_8gpu": ["task.path=problems.jsonl"],
    "kimi_rl_7b_64gpu": ["task.path=problems.jsonl", *SEVERAL],
    "kimi_rl_30b_a3b_8gpu": ["task.path=problems.jsonl", SEVERAL[1]],
    "kimi_rl_30b_a3b_64gpu": ["task.path=problems.jsonl", *SEVERAL],
    "model=hub": ["model.name=some/model"],
    "task=jsonl": ["task.path=problems.jsonl", "reward=exact_match"],
    "task=benchmark": ["task.name=math_500", "reward=math"],
}
BESIDE = {"trainer=grpo": "grpo", "trainer=no_training": "long2short_rejection"}


def compose(*overrides: str) -> dict:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose("run", overrides=list(overrides))
    config = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(config, dict)
    return config


def check(config: dict) -> None:
    keys.check_top_level(config)
    values.check_values(config)
    rewards.check_own_columns(config)
    keys.check_nodes(config)
    args = config.get("trainer", {}).get("args", {})
    if args.get("_target_") == "k15_plugins.trainers.config.MirrorDescentConfig":
        here = {"output_dir": "outputs", "use_cpu": True, "bf16": False}
        MirrorDescentConfig(**{name: value for name, value in args.items() if name != "_target_"} | here)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes_and_names_only_what_exists(recipe):
    check(compose(f"+recipe={recipe}", *NEEDED.get(recipe, [])))


STEPS = [
    pytest.param(words, id=f"{recipe}-{name}")
    for recipe in ("kimi_k15", "smollm2_long2short", "sft_paper")
    for name, words in compose(f"+recipe={recipe}", *NEEDED.get(recipe, []))["stage"]["steps"].items()
]


@pytest.mark.parametrize("words", STEPS)
def test_every_step_of_a_pipeline_composes_and_names_only_what_exists(words):
    check(compose(*(re.sub(r"@(\w+)", r"some/\1", word) for word in words)))


def arms() -> dict[str, list[str]]:
    path = Path(__file__).parents[2] / "benchmarks" / "learning.py"
    spec = importlib.util.spec_from_file_location("learning_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(path.parent))  # as for a script: what it compares with lies beside it
    spec.loader.exec_module(module)
    sys.path.remove(str(path.parent))  # or long2short.py there would hide the folder of tests
    return module.ARMS


@pytest.mark.parametrize("arm", ARMS := arms())
def test_every_arm_of_the_benchmark_composes_and_names_only_what_exists(arm):
    check(compose(*ARMS[arm]))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_names_only_what_exists(option):
    recipe = BESIDE.get(option, "kimi_rl")
    check(compose(f"+recipe={recipe}", option, *NEEDED.get(recipe, []), *NEEDED.get(option, [])))


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("+trainer.args.tua=1", "trainer.args.tau"),  # of MirrorDescentConfig
        ("+trainer.args.learnin_rate=1", "trainer.args.learning_rate"),  # of TrainingArguments
        ("+trainer.final_rewrad=1", "trainer.final_reward"),  # of a base that takes **kwargs
        ("+sampler.flor=0", "sampler.floor"),
        ("+task.train_sise=1", "task.train_size"),
        ("+model.nam=1", None),  # model=tiny has no arguments at all
        ("+reward.answer.x=1", None),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name(override, nearest):
    config = compose("+recipe=kimi_rl", override)
    with pytest.raises(ValueError, match=f"unknown key {override[1:].partition('=')[0]}") as error:
        keys.check_nodes(config)
    if nearest is not None:
        assert f"did you mean {nearest}?" in str(error.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("trainer.args.tau=abc", "trainer.args.tau must be a number, got 'abc'; the default is 0.4"),
        (
            "+trainer.args.weight_decay=none",
            "trainer.args.weight_decay must be a number, got 'none'; the default is 0.0",
        ),
        ("task.seed=x", "task.seed must be a whole number, got 'x'; the default is 0"),
        (
            "trainer.args.disable_dropout=maybe",
            "trainer.args.disable_dropout must be true or false, got 'maybe'; the default is True",
        ),
    ],
)
def test_a_number_must_be_a_number(override, sentence):
    with pytest.raises(ValueError, match=sentence):
        keys.check_nodes(compose("+recipe=kimi_rl", override))


def test_a_reward_must_say_what_it_is():
    with pytest.raises(ValueError, match=r"reward\.other must have a _target_"):
        check(compose("+recipe=kimi_rl", "+reward.other.weight=1"))


def test_a_target_must_exist():
    with pytest.raises(ValueError, match=r"sampler\._target_=k15_plugins\.sampling\.Nothing cannot be imported"):
        keys.check_nodes(compose("+recipe=kimi_rl", "sampler._target_=k15_plugins.sampling.Nothing"))


def test_comments_stand_above_every_field():
    for path in CONF.glob("*/*.yaml"):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("#"), path
        assert not any(" #" in line.lstrip() and not line.lstrip().startswith("#") for line in lines), path


@pytest.mark.parametrize("option", ["chain_sum", "reasoning", "sums_of_two"])
def test_a_task_has_the_problems_that_it_promises(option):
    task = compose("+recipe=kimi_rl", f"task={option}")["task"]
    problems = build(task)
    assert (len(problems.train), len(problems.held_out)) == (task["train_size"], task["held_out_size"])
