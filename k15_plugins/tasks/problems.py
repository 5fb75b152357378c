"""What the loaders of problems share: the two sets, the prompt, the split into train and held-out."""

import string
import zlib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from datasets import Dataset, Features, Value

Message = dict[str, str]
Prompt = str | list[Message]
Row = dict[str, Any]
T = TypeVar("T")


class Problems(NamedTuple):
    """Problems to train on and problems to measure with; no problem is in both.

    Columns: `prompt` (`str`, or a list of messages), `answer` (`str`), `level` (`int`, 0 = easiest), `task` (`str`)
    and, for reasoning-gym, `entry` (`str`, JSON).
    """

    train: Dataset
    held_out: Dataset


def is_held_out(question: str, share: float) -> bool:
    """Decide by its text alone whether a question is held out, so that no seed or size can move it to the other side.

    Args:
        question: Text of the question, before any template.
        share: Share of all questions that is held out, in [0, 1].

    Returns:
        True for a held-out question.
    """
    return zlib.crc32(question.encode()) < share * 2**32


def hold_out(
    rows: dict[str, T],
    held_out: float | str | Path | None,
    path: str | Path,
    read: Callable[[str | Path], dict[str, T]],
) -> tuple[dict[str, T], dict[str, T]]:
    """Split problems into those to train on and those to measure with.

    Args:
        rows: Text of the question -> its problem, or problems.
        held_out: A share in (0, 1), chosen by a hash of the text; or where other problems are; or None for none.
        path: Where the problems are, for the messages.
        read: Reads other problems.

    Returns:
        Both sides, in the order of the rows.

    Raises:
        ValueError: If the share cannot be or leaves a side empty, or a problem would be on both.
    """
    if held_out is None:
        return rows, {}
    if isinstance(held_out, int | float):
        if not 0 < held_out < 1:
            raise ValueError(
                f"held_out must be a share between 0 and 1, a path, or null for none, got {held_out}; set 0.1, say."
            )
        measured = {text: row for text, row in rows.items() if is_held_out(text, held_out)}
        rest = {text: row for text, row in rows.items() if text not in measured}
        if not rest or not measured:
            raise ValueError(
                f"held_out={held_out} leaves {len(rest)} problems of {path} to train on and {len(measured)} held out; "
                "choose another share or give more problems."
            )
        return rest, measured
    measured = read(held_out)
    both = [text for text in measured if text in rows]
    if both:
        raise ValueError(
            f"held_out={held_out} has {len(both)} of its {len(measured)} problems in {path} too, "
            f"the first is {both[0][:100]!r}; remove them from one of the two."
        )
    return rows, measured


def check_prompt_options(template: str, fields: Iterable[str], system: str | None, conversational: bool) -> None:
    """Refuse a template with unknown fields, and a system message that plain prompts would drop.

    Args:
        template: Format string.
        fields: Names that the template may use.
        system: System message.
        conversational: Whether prompts are lists of messages.

    Raises:
        ValueError: Names the field, the value and the cure.
    """
    fields = list(fields)
    for name, text in (("template", template), ("system", system)):
        if not isinstance(text, str) and (name, text) != ("system", None):
            raise ValueError(f"{name} must be text, got {text!r:.100}; correct it, or leave it out.")
    try:
        used = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ValueError(
            f"template must be a format string, got {template!r} ({error}); write a literal brace twice."
        ) from error
    for name in used:
        head = name.partition("[")[0]
        if head not in fields:
            raise ValueError(
                f"template={template!r} uses the unknown field {{{name}}}{did_you_mean(head, fields)}; "
                f"it may use {', '.join(f'{{{field}}}' for field in fields)} (write a literal brace twice)."
            )
    if not used:
        raise ValueError(
            f"template must have a field, got {template!r}, with which all prompts are the same; use {{{fields[0]}}}."
        )
    if system is not None and not conversational:
        raise ValueError(
            f"system={system!r} needs conversational=true; for plain prompts put the text into the template."
        )


def make_prompt(text: str, system: str | None, conversational: bool) -> Prompt:
    """Build a plain or conversational prompt.

    Args:
        text: The user's text.
        system: System message of a conversational prompt.
        conversational: Whether to build a list of messages.

    Returns:
        The prompt as TRL wants it.
    """
    if not conversational:
        return text
    messages = [] if system is None else [{"role": "system", "content": system}]
    return [*messages, {"role": "user", "content": text}]


def to_dataset(rows: list[dict[str, Any]], conversational: bool, with_entry: bool) -> Dataset:
    """Turn rows into a dataset; an empty list still has all columns.

    Args:
        rows: Problems.
        conversational: Whether prompts are lists of messages.
        with_entry: Whether rows have the column `entry`.

    Returns:
        One row a problem.
    """
    text = Value("string")
    columns: dict[str, Any] = {
        "prompt": [{"role": text, "content": text}] if conversational else text,
        "answer": text,
        "level": Value("int64"),
        "task": text,
    }
    if with_entry:
        columns["entry"] = text
    return Dataset.from_dict({name: [row[name] for row in rows] for name in columns}, features=Features(columns))


def prompts_of(data: Dataset) -> Dataset:
    """Leave out the columns that are not needed to read the prompts, images say.

    Args:
        data: Gives the column `prompt`, be it only when a row is read (`set_transform`).

    Returns:
        The same rows.
    """
    return data if data.format["type"] == "custom" else data.select_columns("prompt")


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Point at the nearest known name.

    Args:
        name: The unknown name.
        choices: The known names.

    Returns:
        " (did you mean 'x'?)", or "" if nothing is near.
    """
    near = get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def check_keys(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse unknown keys.

    Args:
        given: What the user wrote.
        known: The keys that exist.
        where: Name of the field, for the message.

    Raises:
        ValueError: Names the first unknown key and the nearest known one.
    """
    known = list(known)
    for key in given:
        if key not in known:
            raise ValueError(f"{where} has no key {key!r}{did_you_mean(key, known)}; it has {', '.join(known)}.")
