"""New Python environments that hold a wheel of this package and what one of its extras asks for, and nothing else.

The packages are links to those of the environment that runs the tests, so one takes a second and no network. A slow
test holds them against what pip itself installs.
"""

import os
import subprocess
import sys
import venv
from collections import defaultdict
from functools import cache
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path, PurePath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def build_wheel(folder: Path) -> Path:
    """Build the wheel of the checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def closure(package: Distribution, extras: frozenset[str]) -> dict[str, Distribution]:
    """What a distribution asks for with its extras, and what that asks for, by name."""
    found: dict[str, Distribution] = {}
    done = set()
    waiting = [(package, extra) for extra in ("", *extras)]
    while waiting:
        owner, extra = waiting.pop()
        if (owner.name, extra) in done:
            continue
        done.add((owner.name, extra))
        for requirement in map(Requirement, owner.requires or []):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            needed = package if name == canonicalize_name(package.name) else distribution(name)
            assert requirement.specifier.contains(needed.version, prereleases=True), f"{owner.name}: {requirement}"
            if needed is not package:
                found[name] = needed
            waiting += [(needed, each) for each in ("", *requirement.extras)]
    return found


@cache
def owners() -> dict[PurePath, set[str]]:
    """Whose files lie in each folder, or under which path a file, of the packages of this environment."""
    found = defaultdict(set)
    for each in distributions():
        name = each.name
        for path in {path for file in each.files or [] for path in (file, *file.parents)}:
            found[path].add(name)
    return found


def link(package: Distribution, site_packages: Path) -> None:
    """Link a distribution into an environment, a whole folder where nothing of another distribution lies in it."""
    name = package.name
    files = [file for file in package.files or [] if file.parts[0] != ".."]  # those are scripts
    paths = ((*reversed(file.parents), file) for file in files)
    for path in {next(path for path in each if owners()[path] == {name}) for each in paths}:
        (site_packages / path).parent.mkdir(parents=True, exist_ok=True)
        (site_packages / path).symlink_to(package.locate_file(path))


class Environment:
    """A Python environment in a folder, and what it runs."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.site_packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"

    def run(self, *words: str, cwd: Path, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess:
        """Run a program of the environment, such as `k15`, which sees nothing of the environment of the tests."""
        env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        env["PATH"] = f"{self.folder / 'bin'}:{env['PATH']}"
        done = subprocess.run(
            [self.folder / "bin" / words[0], *words[1:]],
            cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def distributions(self) -> set[str]:
        """Return the names of what is installed, this package included."""
        return {canonicalize_name(each.name) for each in distributions(path=[str(self.site_packages)])}


def make_environment(folder: Path, wheel: Path, extras: list[str]) -> Environment:
    """Make an environment of a wheel of this package, with extras."""
    venv.create(folder, symlinks=True)
    environment = Environment(folder)
    python = folder / "bin" / "python"
    install = ["install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    (package,) = distributions(name="k15-plugins", path=[str(environment.site_packages)])
    for each in closure(package, frozenset(extras)).values():
        link(each, environment.site_packages)
    return environment


def pip_environment(folder: Path, wheel: Path, extras: list[str]) -> Environment:
    """Make the same as `make_environment`, by pip and as the README says: torch first, under the constraints."""
    venv.create(folder, symlinks=True, with_pip=True)
    environment = Environment(folder)
    for what in ("torch", f"{wheel}[{','.join(extras)}]" if extras else str(wheel)):
        environment.run(
            "python", "-m", "pip", "install", "--no-compile", "--constraint", str(ROOT / "constraints.txt"), what,
            cwd=folder, timeout=600,
        )  # fmt: skip
    return environment
