"""CYaRon as a box finds it: a folder with that package and what it imports, and nothing else of this environment."""

import compileall
import functools
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from k15_plugins.extras import cure

# xeger draws CYaRon's strings from regular expressions; colorful, its third package, it goes without.
_PACKAGES = ("cyaron", "xeger")


@functools.cache
def cyaron_folder() -> Path:
    """Return the folder, for `Program.packages`; it is made once in a process and goes with it.

    Raises:
        ModuleNotFoundError: If a package is not installed.
    """
    found = {name: find_spec(name) for name in _PACKAGES}
    for name, spec in found.items():
        if spec is None:
            raise ModuleNotFoundError(f"No module named '{name}'{cure(name)}.", name=name)
    temporary = tempfile.TemporaryDirectory(prefix="k15_cyaron_")
    _kept.append(temporary)
    folder = Path(temporary.name)
    folder.chmod(0o755)  # a box may run as another user
    for name, spec in found.items():
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, folder / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    # Nothing can be written there from inside, so that each run would compile it again.
    compileall.compile_dir(folder, quiet=2)
    return folder


_kept: list[tempfile.TemporaryDirectory[str]] = []
