"""From rows with answers to tokens and labels: the loss is on the answers alone, and the trainer need not tokenize."""

import json
from collections.abc import Iterator
from typing import Any

from datasets import Dataset, Features, List, Value

from k15_plugins.models.unknown_tokens import MOST_UNKNOWN

NO_LOSS = -100
Spans = list[tuple[int, int]]

_COLUMNS = {
    "input_ids": List(Value("int32")),
    "labels": List(Value("int32")),
    "place": Value("string"),
    "source": Value("string"),
}


def tokenized(rows: Dataset, tokenizer: Any, max_length: int | None) -> Dataset:
    """Tokenize rows as TRL's `SFTTrainer` would, batch by batch instead of one by one.

    A token belongs to an answer if one of its signs does. Of a conversation every message of the role assistant is an
    answer, and of a prompt with its completion those of the completion. The end-of-sequence token closes plain text.

    Args:
        rows: `place`, `source` and `row`, the row as JSON.
        tokenizer: Of the model.
        max_length: Most tokens of a row, or None.

    Returns:
        `input_ids`, `labels` (-100 where there is no loss), `place` and `source`, in the same order.

    Raises:
        ValueError: If a row is too long, cannot be read by the tokenizer, or has no answer left.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"the tokenizer must be a fast one, which tells where its tokens stand, got {type(tokenizer).__name__}; "
            "take the model's own from the package tokenizers."
        )
    unknown = tokenizer.unk_token_id

    def of_batch(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        places, read = batch["place"], [json.loads(row) for row in batch["row"]]
        found = list(_tokens(places, read, tokenizer))
        return {"input_ids": [ids for ids, _ in found], "labels": [labels for _, labels in found]} | {
            name: batch[name] for name in ("place", "source")
        }

    done = rows.map(
        of_batch, batched=True, batch_size=256, remove_columns=rows.column_names, features=Features(_COLUMNS)
    )
    _check(done, max_length, None if unknown == tokenizer.eos_token_id else unknown, tokenizer)
    return done


def _tokens(places: list[str], rows: list[Any], tokenizer: Any) -> Iterator[tuple[list[int], list[int]]]:
    texts, spans = zip(*map(_of_row, places, rows, [tokenizer] * len(rows)), strict=True)
    of_chats = ["messages" in row or not isinstance(row["prompt"], str) for row in rows]
    encoded: list[Any] = [None] * len(rows)
    for chat in (True, False):
        chosen = [index for index, each in enumerate(of_chats) if each is chat]
        if chosen:
            # A chat template writes the special tokens itself.
            many = tokenizer(
                [texts[index] for index in chosen], add_special_tokens=not chat, return_offsets_mapping=True
            )
            for index, ids, offsets in zip(chosen, many["input_ids"], many["offset_mapping"], strict=True):
                encoded[index] = ids, offsets
    for (ids, offsets), own in zip(encoded, spans, strict=True):
        is_answer = [any(first < to and begin < last for begin, to in own) for first, last in offsets]
        yield ids, [token if answer else NO_LOSS for token, answer in zip(ids, is_answer, strict=True)]


def _of_row(place: str, row: dict[str, Any], tokenizer: Any) -> tuple[str, Spans]:
    """Return the text of a row, and from which sign to which its answers stand."""
    if "messages" not in row and isinstance(row["prompt"], str):
        end = "" if row["completion"].endswith(tokenizer.eos_token) else tokenizer.eos_token
        text = row["prompt"] + row["completion"] + end
        return text, [(len(row["prompt"]), len(text))]
    if not tokenizer.chat_template:
        raise ValueError(
            f"{place}: messages need a tokenizer with a chat template, which this one lacks; take another model, "
            "or give prompt and completion as text."
        )
    question = row.get("prompt", [])
    messages = question + (row["completion"] if "completion" in row else row["messages"])
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    spans = []
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and index >= len(question):
            before = tokenizer.apply_chat_template(messages[:index], tokenize=False, add_generation_prompt=True)
            until = tokenizer.apply_chat_template(messages[: index + 1], tokenize=False)
            if not (text.startswith(until) and until.startswith(before)):
                raise ValueError(
                    f"{place}: the chat template must write a message alike whatever follows, got another text for "
                    f"message {index + 1} of {len(messages)}; give a row for each answer, as prompt and completion."
                )
            spans.append((len(before), len(until)))
    return text, spans


def _check(rows: Dataset, max_length: int | None, unknown: int | None, tokenizer: Any) -> None:
    lengths: list[int] = []
    tokens: dict[str, int] = {}
    lost: dict[str, int] = {}
    for place, source, ids, labels in _each(rows):
        lengths.append(len(ids))
        if all(label == NO_LOSS for label in labels):
            raise ValueError(f"{place} must have an answer to learn from, got no token of one; leave the row out.")
        tokens[source] = tokens.get(source, 0) + len(ids)
        lost[source] = lost.get(source, 0) + (0 if unknown is None else ids.count(unknown))
    for source, number in tokens.items():
        if lost[source] > MOST_UNKNOWN * number:
            raise ValueError(
                f"source {source} must be in words that the model's tokenizer knows, got "
                f"{100 * lost[source] / number:.0f} % of its tokens as {tokenizer.unk_token} (at most "
                f"{100 * MOST_UNKNOWN:.0f} % may be); take another model, such as model=smollm2."
            )
    too_long = [index for index, length in enumerate(lengths) if max_length is not None and length > max_length]
    if too_long:
        others = f", as {len(too_long) - 1} other rows have" if len(too_long) > 1 else ""
        raise ValueError(
            f"{rows[too_long[0]]['place']} must have at most max_length={max_length} tokens, got "
            f"{lengths[too_long[0]]}{others}; raise max_length, or leave such rows out: a cut row has lost its end."
        )


def _each(rows: Dataset) -> Iterator[tuple[str, str, list[int], list[int]]]:
    for batch in rows.iter(1000):
        yield from zip(batch["place"], batch["source"], batch["input_ids"], batch["labels"], strict=True)
