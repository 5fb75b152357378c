"""The last lines of a run: what it changed, where the model is, and how to load it."""

import shlex
from pathlib import Path

from k15_plugins.files.jsonl import read_lines
from k15_plugins.report.history import METRICS
from k15_plugins.runs import folder
from k15_plugins.runs.resume import python, shown

# Of a training by rewards, and of the warm start.
_FIGURES = (("eval_k15/accuracy", "eval_completions/mean_length"), ("accuracy", "mean_tokens"))


def change(run_dir: Path) -> str | None:
    """Return a sentence with accuracy and tokens before and after, or None if nothing was measured twice.

    Args:
        run_dir: The run's folder.
    """
    lines = read_lines(run_dir / METRICS)
    for accuracy, tokens in _FIGURES:
        measured = [line for line in lines if isinstance(line.get(accuracy), float) and tokens in line]
        if len(measured) > 1:
            first, last = measured[0], measured[-1]
            return (
                f"right answers on held-out problems {first[accuracy]:.3f} -> {last[accuracy]:.3f}, "
                f"tokens {first[tokens]:.1f} -> {last[tokens]:.1f}"
            )
    return None


def where_the_model_is(run_dir: Path) -> str | None:
    """Return a sentence with the model's folder, and in a line of its own a command that lets it write, or None.

    Args:
        run_dir: The run's folder.
    """
    model = run_dir / folder.MODEL
    if not model.is_dir():
        return None
    if (model / folder.JUDGE).exists():  # which reads more than a prompt
        return f"reward model {shown(model)}"
    code = f"from transformers import pipeline; print(pipeline('text-generation', {shown(model)!r})(input()))"
    return f"model {shown(model)}; try it on a prompt by\n{python()} -c {_quoted(code)}"


def _quoted(code: str) -> str:
    return shlex.quote(code) if set(code) & set('"$`\\!') else f'"{code}"'  # the second is easier to read
