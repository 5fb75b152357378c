"""Servers that are asked by HTTP: their addresses, and how long a busy one wants to be left alone."""

from collections.abc import Sequence

import requests

LONGEST_PAUSE_SECONDS = 20.0


def addresses(endpoints: str | Sequence[str], example: str, cure: str) -> list[str]:
    """Return the addresses of servers.

    Args:
        endpoints: Several, or one as text.
        example: An address, for the message.
        cure: What to do about one that is none.

    Raises:
        ValueError: If there is none, or one is no address.
    """
    listed = [endpoints] if isinstance(endpoints, str) else list(endpoints)
    wrong: list[str | None] = [each for each in listed if not str(each).startswith(("http://", "https://"))]
    if wrong or not listed:
        raise ValueError(f"endpoints must be addresses such as {example}, got {(wrong or [None])[0]!r}; {cure}.")
    return listed


def retry_after(response: requests.Response) -> float:
    """Return for how many seconds a busy server wants to be left alone, at most `LONGEST_PAUSE_SECONDS`.

    Args:
        response: Its answer.
    """
    try:
        return min(LONGEST_PAUSE_SECONDS, float(response.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0
