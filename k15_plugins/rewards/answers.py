"""The final answer of a response: what a pattern finds last, with nothing said after it."""

import re
from typing import Any

# Each pattern has one group, the answer. Give your own in the same form.
AFTER_ANSWER = r"(?i:\banswer\b(?:\s+is\b)?)\s*:?\s*((?:(?!(?i:\banswer\b)).)+)"
ANSWER_TAGS = r"<answer>((?:(?!<answer>).)*?)</answer>"
BOXED = r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*)\}"


def response_text(completion: str | list[dict[str, Any]]) -> str:
    """Take the text of a completion.

    Args:
        completion (`str` or `list[dict]`): Plain text, or messages, of which the last one is the response.

    Returns:
        `str`: The text; "" if there is none.
    """
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else None
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def final_answer(text: str, pattern: re.Pattern[str]) -> str | None:
    """Find the final answer in a response.

    Only the last match counts, and no letter or digit may follow it: a response that goes on has not given its final
    answer yet, and one that lists several answers is judged by the last.

    Args:
        text (`str`): The response.
        pattern (`re.Pattern`): Its last group that took part in the match is the answer; without groups, the match.

    Returns:
        `str` or `None`: The answer without surrounding white space, or None if there is no final answer.
    """
    matches = list(pattern.finditer(text))
    if not matches or re.search(r"\w", text[matches[-1].end() :]):
        return None
    last = matches[-1]
    answer = (last.group(last.lastindex or 0) or "").strip()
    return answer or None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile an answer pattern; its dot matches line ends too.

    Args:
        pattern (`str`): Regular expression.

    Returns:
        `re.Pattern`: The compiled pattern.

    Raises:
        ValueError: If it is no regular expression.
    """
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(f"answer_pattern={pattern!r} is no regular expression: {error}; correct it.") from error
