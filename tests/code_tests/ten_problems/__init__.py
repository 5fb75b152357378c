"""Ten small problems made for the tests, each with ten submissions, a generator, and the fate that it has to meet."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from k15_plugins.code_tests.reasons import Reason

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
FATES: dict[str, Reason | None] = {}
"""Why each is dropped; None for those that are kept."""
ROWS: dict[str, dict[str, Any]] = {}
"""Each as a row of the file that the recipe reads."""

for _name in NAMES:
    _module = import_module(f"{__name__}.{_name}")
    FATES[_name] = _module.FATE
    ROWS[_name] = {
        "id": _name,
        "prompt": _module.PROMPT,
        "submissions": _module.SUBMISSIONS,
        "generator": _module.GENERATOR,
        "cpu_seconds": getattr(_module, "CPU_SECONDS", 2.0),
    }


def write_file(path: Path, *names: str, **changes: Any) -> Path:
    """Write problems as a file: all ten, or those that are named.

    Args:
        path: The file.
        *names: Of problems.
        **changes: Fields that all rows get.
    """
    path.write_text("".join(json.dumps(ROWS[name] | changes) + "\n" for name in names or NAMES))
    return path
