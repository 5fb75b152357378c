"""`docs/seams.md` lists what the code assigns to objects of others, and tests that exist."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from k15_plugins import MirrorDescentTrainer
from k15_plugins.trainers.long2short_dpo import Long2ShortDPOTrainer
from k15_plugins.trainers.megatron import MegatronMirrorDescentTrainer
from k15_plugins.trainers.resumable_sft import ResumableSFTTrainer

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "k15_plugins"
ROWS = [line for line in (TESTS.parent / "docs" / "seams.md").read_text().splitlines() if line.startswith("| `")]
# Objects of our own, or made a line before.
OWN = {
    "code_tests/generate_cases.py": {"runs", "words"},
    "curation/votes.py": {"audited"},
    "generation/cpu/gloo.py": {"rootRank", "rootTensor"},
    "generation/segments.py": {"log_probs_BV"},
    "generation/vllm_steps.py": {"max_tokens", "output_kind"},
    "judges/server_judge.py": {"session"},
    "models/new_model.py": {"pre_tokenizer", "decoder"},
    "models/tiny_reasoner.py": {"pre_tokenizer"},
    "rollouts/buffer.py": {"ids_T", "logps_T", "stop"},
    "runs/rewards.py": {"__name__"},
    "runs/sweep.py": {"folder"},
    "sandbox/http.py": {"session"},
    "sandbox/inside/__main__.py": {"__path__"},
    # The interpreter that runs one program, and ends with it.
    "sandbox/inside/python_program.py": {
        *("__file__", "setattr", "stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__", "argv", "path"),
        *("modules", "__builtins__", "__name__"),
    },
    "sandbox/local.py": {"blames"},
    "sampling/weighted.py": {"state"},
    "tasks/thoughts.py": {"checks", "wrong_checks", "steps", "wrong_steps"},
    "trainers/knob.py": {"__doc__"},
    "trainers/megatron.py": {"skips_next"},
    "trainers/mirror_descent.py": {"advantages_N"},
    "trainers/partial_rollout_trainer.py": {"groups"},
    "trainers/partial_rollouts.py": {"prompt_ids"},
    "trainers/resumable.py": {"in_a_row"},
    "trainers/sampled_grpo.py": {"problems_N", "lengths_tokens", "verdicts", "advantages_N"},
}
# Trainers' own way to be told, at any time.
CONTROL = {"should_log", "should_save", "should_training_stop"}


def targets(tree):
    """What is assigned to, each part of a tuple by itself."""
    for node in ast.walk(tree):
        found = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in found:
            yield from target.elts if isinstance(target, ast.Tuple) else [target]


def of_others(tree):
    """Names of attributes that are assigned to, or set by name, on anything but `self`."""
    for target in targets(tree):
        if isinstance(target, ast.Subscript) and "shared_state" in ast.unparse(target):
            yield ast.literal_eval(target.slice)
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) not in ("self", "cls"):
            yield target.attr
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
            yield "setattr"


def of_self(tree):
    """Names of attributes that are assigned to on `self`."""
    return {
        each.attr for each in targets(tree) if isinstance(each, ast.Attribute) and ast.unparse(each.value) == "self"
    }


def is_listed(file, name):
    told = {"setattr": "set"}.get(name, name)
    return any(f"`{file}`" in row and re.search(rf"(?<!\w){re.escape(told)}(?!\w)", row) for row in ROWS)


@pytest.mark.parametrize("file", sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")))
def test_what_is_assigned_to_others_is_listed(file):
    found = set(of_others(ast.parse((PACKAGE / file).read_text()))) - OWN.get(file, set()) - CONTROL
    assert {name for name in found if not is_listed(file, name)} == set()


def test_what_our_trainers_assign_to_attributes_of_their_bases_is_listed():
    classes = {
        each
        for trainer in (MegatronMirrorDescentTrainer, MirrorDescentTrainer, Long2ShortDPOTrainer, ResumableSFTTrainer)
        for each in trainer.__mro__
    }
    theirs = set()
    for each in classes:
        if each.__module__.startswith(("trl", "transformers")):
            theirs |= of_self(ast.parse(inspect.getsource(each)))
    unlisted = set()
    for each in classes:
        if each.__module__.startswith("k15_plugins"):
            file = str(Path(inspect.getfile(each)).relative_to(PACKAGE))
            names = of_self(ast.parse(inspect.getsource(each))) & theirs
            unlisted |= {(file, name) for name in names if not is_listed(file, name)}
    assert unlisted == set()


@pytest.mark.parametrize("row", ROWS)
def test_files_and_tests_of_a_row_exist(row):
    cells = row.split(" | ")
    for file in re.findall(r"`([\w/]+\.py)`", cells[0]):
        assert (PACKAGE / file).exists(), file
    named = re.findall(r"`tests/([\w/]+)(\.py)?(?:::(\w+))?`", cells[-1])
    assert named
    for path, ending, function in named:
        file = TESTS / (path + ending)
        assert file.exists(), file
        assert not function or f"def {function}(" in file.read_text(), function
