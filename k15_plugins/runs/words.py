"""The words of a command, before Hydra reads them."""

import sys

from k15_plugins.runs import values
from k15_plugins.runs.conf import CONF

_QUESTIONS = ("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")
REFUSED = 2
"""Exit code of a command that was refused before anything ran."""


def options_first(argv: list[str]) -> list[str]:
    """Put options such as `-m` before the overrides: Hydra's parser cannot take overrides on both sides of one.

    Args:
        argv: Arguments, without the program.
    """
    return sorted(argv, key=lambda word: word.startswith("~") or ("=" in word and not word.startswith("-")))


def name_sweep_over_recipes(argv: list[str]) -> list[str]:
    """Give a sweep over recipes one folder: each of its jobs would name the folder after its own recipe.

    Args:
        argv: Arguments, without the program.
    """
    if not any(word.startswith("+recipe=") and "," in word for word in argv):
        return argv
    new = "multirun/recipes/${now:%Y-%m-%d}/${now:%H-%M-%S}"
    return [*argv, f"hydra.sweep.dir='${{k15_folder:${{resume}},{new}}}'"]


def refuse_without_recipe(argv: list[str]) -> None:
    """Refuse a run of nothing; questions about the config need no recipe.

    Args:
        argv: Arguments, without the program.
    """
    if not _is_question(argv) and not any(word.startswith(("+recipe=", "recipe=")) for word in argv):
        recipes = sorted(path.stem for path in (CONF / "recipe").glob("*.yaml"))
        refuse(f"no recipe given; add one of {', '.join(f'+recipe={name}' for name in recipes)}.")


def _is_question(argv: list[str]) -> bool:
    return any(word.split("=")[0] in _QUESTIONS for word in argv)


def refuse_empty_groups(argv: list[str]) -> None:
    """Refuse a group that is set to nothing, of which Hydra would not say the name.

    Args:
        argv: Arguments, without the program.
    """
    for word in argv:
        group, _, option = word.lstrip("+").partition("=")
        if group in values.GROUP_NAMES and option in ("", "null"):
            refuse(
                f"{group} must be one of its options, got {option or 'nothing'}; take {group}=..., or leave it out."
            )


def refuse(message: str) -> None:
    """Print why a command is refused, in one sentence, and exit.

    Args:
        message: The sentence.
    """
    print(f"k15: {message}", file=sys.stderr)
    sys.exit(REFUSED)
