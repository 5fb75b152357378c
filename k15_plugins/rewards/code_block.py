"""The program in a response: its last closed block of code, after the thinking."""

import re

_END_OF_THINKING = "</think>"
_LANGUAGES = {
    "python": ("python", "pypy", "py", ""),
    "cpp": ("cpp", "c++", "cc", "cxx", ""),
}
_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^\s`]*)[^\n`]*$")
# `python3.11`, `{.python}`, `python=` mean what `python` does.
_ORNAMENTS = re.compile(r"^[{.]+|[}=:,].*$|[\d.]+$")


def code_block(text: str, language: str = "python") -> str | None:
    """Find the program of a response.

    A block that is not closed is unfinished and counts as none: what comes before it was not the last word. So does a
    last block in another language; one that names no language counts.

    Args:
        text: The response. Only what follows its last `</think>` is looked at; without one, all of it.
        language: "python" or "cpp".

    Returns:
        The program, or None.
    """
    opened: re.Match[str] | None = None
    lines: list[str] = []
    last: tuple[str, list[str]] | None = None
    for line in text.rpartition(_END_OF_THINKING)[2].replace("\r\n", "\n").split("\n"):
        fence = _FENCE.match(line)
        if opened is None:
            if fence:
                opened, lines = fence, []
        elif fence and not fence["language"] and fence["fence"].startswith(opened["fence"]):
            last, opened = (_ORNAMENTS.sub("", opened["language"].lower()), lines), None
        else:
            # A block in a list is indented with it.
            lines.append(line.removeprefix(opened["indent"]))
    if opened is not None or last is None or last[0] not in _LANGUAGES[language]:
        return None
    return "\n".join(last[1]) + "\n"
