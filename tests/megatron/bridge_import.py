"""Imports Megatron-Bridge where its GPU libraries are missing; it asks for their names while it is imported."""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from torch import Tensor, distributed

GPU_LIBRARIES = ("transformer_engine", "triton")


class _Name(type):
    """A class of which every attribute, and whatever it returns when it is called, is such a class."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        return cls

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(name, (), {})


class _Names(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(_Name("module", (), {}), name)


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in GPU_LIBRARIES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Names(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def import_bridge() -> None:
    """Import it. All its code is the real one, and so is Megatron's, which is to find the libraries missing."""
    import megatron.core.models.gpt.gpt_layer_specs

    # It sends strided views, of which gloo sends what lies in memory; on their way to a GPU they are copied.
    scatter = distributed.scatter

    def scatter_copies(tensor: Tensor, scatter_list: list[Tensor] | None = None, **options: Any) -> Any:
        return scatter(tensor, scatter_list and [each.contiguous() for each in scatter_list], **options)

    distributed.scatter = scatter_copies
    finder = _Finder()
    sys.meta_path.append(finder)
    import megatron.bridge  # noqa: F401

    sys.meta_path.remove(finder)
    for name in [name for name in sys.modules if name.split(".")[0] in GPU_LIBRARIES]:
        del sys.modules[name]
