"""Run the tests with the newest packages, and end with a sentence that names what broke: `make newest`.

Each argument is an environment, the constraints of its pinned twin, and the tests, with colons between. What the
packages are is asked of pip, so that the sentence also says which ones are newer than the pinned ones.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def versions(lines: str) -> dict[str, str]:
    """Return the version of each package in what pip freezes, without a build's name such as +cpu."""
    pinned = [line for line in lines.splitlines() if re.match(r"[\w.-]+==", line)]
    return {
        canonicalize_name(each.name): str(each.specifier)[2:].partition("+")[0] for each in map(Requirement, pinned)
    }


def differences(environment: str, constraints: str) -> list[str]:
    """Return the packages of an environment whose version is not the pinned one, each with both versions."""
    freeze = [f"{environment}/bin/python", "-m", "pip", "freeze"]
    here = versions(subprocess.run(freeze, check=True, capture_output=True, text=True).stdout)
    pinned = versions(Path(constraints).read_text())
    return [
        f"{name} {here[name]} ({pinned[name]})" for name in sorted(here.keys() & pinned) if here[name] != pinned[name]
    ]


def broken(environment: str, tests: list[str]) -> list[str]:
    """Return the names of the tests that fail in an environment, and show what pytest says meanwhile."""
    command = [f"{environment}/bin/python", "-m", "pytest", "-n", "2", "--dist", "loadfile", *tests]
    pytest = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    names = []
    for line in pytest.stdout:
        print(line, end="", flush=True)
        if found := re.match(r"(?:FAILED|ERROR) (tests/.+?)(?: - |$)", line):
            names.append(found[1])
    if pytest.wait() and not names:
        names = [f"pytest in {environment}, which ended with code {pytest.returncode}"]
    return names


def main() -> None:
    newer, failed = [], []
    for environment, constraints, *tests in (argument.split(":") for argument in sys.argv[1:]):
        newer += differences(environment, constraints)
        failed += broken(environment, [test for test in tests if test])
    print(f"\nNot the pinned version (which is in brackets): {', '.join(dict.fromkeys(newer)) or 'nothing'}.")
    if failed:
        sys.exit(f"make newest: FAILED with the newest packages (make test tries the pinned): {', '.join(failed)}.")
    print("make newest: nothing broke.")


if __name__ == "__main__":
    main()
