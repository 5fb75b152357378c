r"""The final answer of a response: what a pattern finds last, with nothing said after it, or the last `\boxed{}`."""

import re
from typing import Any

# Each pattern has one group, the answer. Give your own in the same form.
AFTER_ANSWER = r"(?i:\banswer\b(?:\s+is\b)?)\s*:?\s*((?:(?!(?i:\banswer\b)).)+)"
ANSWER_TAGS = r"<answer>((?:(?!<answer>).)*?)</answer>"

_BRACES = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\boxed\s+(?P<bare>[^\s{}$\\]+)|\\.|(?P<brace>[{}])", re.DOTALL)
_BETWEEN_BOXES = re.compile(r"(?:[\s$,;.&()\[\]\\]|\b(?:and|or)\b|\\text\s?\{\s?(?:and|or)\s?\})*")


def response_text(completion: str | list[dict[str, Any]]) -> str:
    """Take the text of a completion.

    Args:
        completion: Plain text, or messages, of which the last one is the response.

    Returns:
        The text; "" if there is none.
    """
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else None
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def prompt_text(prompt: str | list[dict[str, Any]]) -> str:
    """Take the text of a prompt.

    Args:
        prompt: Plain text, or messages, whose texts are joined by line ends.
    """
    return prompt if isinstance(prompt, str) else "\n".join(response_text([message]) for message in prompt)


def final_answer(text: str, pattern: re.Pattern[str]) -> str | None:
    """Find the final answer in a response.

    Only the last match counts, and no letter or digit may follow it: a response that goes on has not given its final
    answer yet, and one that lists several answers is judged by the last.

    Args:
        text: The response.
        pattern: Its last group that took part in the match is the answer; without groups, the match.

    Returns:
        The answer without surrounding white space, or None if there is no final answer.
    """
    matches = list(pattern.finditer(text))
    if not matches or re.search(r"\w", text[matches[-1].end() :]):
        return None
    last = matches[-1]
    answer = (last.group(last.lastindex or 0) or "").strip()
    return answer or None


def boxed_answer(text: str) -> str | None:
    r"""Find what stands in the last `\boxed{}` of a response; braces may be nested at will.

    What follows the box is not looked at. Boxes with nothing between them but `and`, `or`, signs and white space are
    one answer in parts, joined by commas. An empty box counts as none.

    Args:
        text: The response.

    Returns:
        The answer without surrounding white space; None if there is no box or the last is not closed.
    """
    closed: list[tuple[int, int, str]] = []
    unclosed: list[tuple[int, int] | None] = []
    for token in _BRACES.finditer(text):
        if token["box"]:
            unclosed.append(token.span())
        elif token["bare"]:
            closed.append((*token.span(), token["bare"]))
        elif token["brace"] == "{":
            unclosed.append(None)
        elif token["brace"] and unclosed and (box := unclosed.pop()) is not None:
            content = text[box[1] : token.start()].strip()
            if content:
                closed.append((box[0], token.end(), content))
    closed.sort()
    last_unclosed = max((box[0] for box in unclosed if box is not None), default=-1)
    if not closed or closed[-1][0] < last_unclosed:
        return None
    start, _, content = closed.pop()
    parts = [content]
    while closed and closed[-1][1] <= start and _BETWEEN_BOXES.fullmatch(text, closed[-1][1], start):
        start, _, content = closed.pop()
        parts += [content] if content != parts[-1] else []
    return ", ".join(reversed(parts))


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile an answer pattern; its dot matches line ends too.

    Args:
        pattern: Regular expression.

    Returns:
        The compiled pattern.

    Raises:
        ValueError: If it is no regular expression.
    """
    if not isinstance(pattern, str):
        raise ValueError(
            f"answer_pattern must be text, got {pattern!r}; set a regular expression such as AFTER_ANSWER."
        )
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(
            f"answer_pattern must be a regular expression, got {pattern!r} ({error}); correct it."
        ) from error
