"""A judge on servers that speak OpenAI's protocol, such as `vllm serve`."""

import itertools
import json
import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from k15_plugins.endpoints import LONGEST_PAUSE_SECONDS, addresses, retry_after
from k15_plugins.judges.prompts import check_sizes
from k15_plugins.numbers import check_numbers

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0
_EXAMPLE = "http://10.0.0.7:8000"
_CURE = "start a server such as vllm serve MODEL, or correct the address"
# A server that is away, or whose answer is not one of the protocol.
_NO_ANSWER = (requests.RequestException, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)


class _Refused(Exception):
    """The server says that the request itself is wrong."""


class ServerJudge:
    """Writes the most probable judgement by requests to servers that speak OpenAI's protocol.

    Requests go to the servers in turn. One that is busy, away, slow or broken is passed over: the request is sent
    again, after a pause that grows. A request that a server refuses (a prompt that is too long, say) is not.

    Args:
        endpoints: Addresses, such as "http://10.0.0.7:8000"; one may be given as text.
        model: Name of the model on the servers.
        max_new_tokens: Longest judgement; one that is cut off has no verdict.
        chat: Ask `/v1/chat/completions`, with the prompt as a user's message; False for `/v1/completions`, which
            gives it as plain text, as a model of your own may have been trained.
        timeout_seconds: How long a server may take over a request.
        tries: How often a request is sent.
        patience_seconds: When no server has written or refused anything for so long, the rest of a batch is dropped.
        concurrency: Requests under way at once, in each process.
        key_variable: Environment variable with the servers' key; where it is not set, none is sent.

    Raises:
        ValueError: If an argument cannot be, no server answers, or one does not serve the model.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        model: str,
        *,
        max_new_tokens: int = 1024,
        chat: bool = True,
        timeout_seconds: float = 120.0,
        tries: int = 4,
        patience_seconds: float = 300.0,
        concurrency: int = 32,
        key_variable: str = "OPENAI_API_KEY",
    ) -> None:
        self._endpoints = [each.rstrip("/").removesuffix("/v1") for each in addresses(endpoints, _EXAMPLE, _CURE)]
        check_sizes(max_new_tokens=max_new_tokens, tries=tries, concurrency=concurrency)
        check_numbers(timeout_seconds=timeout_seconds, patience_seconds=patience_seconds)
        if not timeout_seconds > 0 or not patience_seconds > 0:
            raise ValueError(
                f"timeout_seconds and patience_seconds must be above 0, got {timeout_seconds} and {patience_seconds}; "
                "take 120 and 300, say."
            )
        self._model = model
        self._max_new_tokens = max_new_tokens
        self._chat = chat
        self._timeout_seconds = timeout_seconds
        self._tries = tries
        self._patience_seconds = patience_seconds
        self._concurrency = concurrency
        self._headers = {"Authorization": f"Bearer {key}"} if (key := os.environ.get(key_variable)) else {}
        self._next = itertools.count(os.getpid())  # so that processes do not all begin with the first
        self._sessions = threading.local()
        self._last_answer = 0.0
        self.identity = f"server {model} chat={chat} max_new_tokens={max_new_tokens}"
        self._try_servers()

    def write(self, prompts: list[str]) -> list[str | None]:
        """Write a judgement for each prompt; None where no server did, which a warning tells in a server's words.

        Args:
            prompts: Texts of `judge_prompt`.
        """
        self._last_answer = time.monotonic()
        with ThreadPoolExecutor(min(self._concurrency, max(1, len(prompts)))) as threads:
            results = list(threads.map(self._ask, prompts))
        if faults := [fault for _, fault in results if fault is not None]:
            logger.warning("%d of %d judgements failed; the first: %s", len(faults), len(prompts), faults[0])
        return [text for text, _ in results]

    def _ask(self, prompt: str) -> tuple[str | None, str | None]:
        """Return what a server wrote, or why none did."""
        said, pause = "", 0.0
        for number in range(self._tries):
            if time.monotonic() - self._last_answer > self._patience_seconds:
                return None, f"no server answered for {self._patience_seconds:g} s{said and '; '}{said}"
            endpoint = self._endpoints[next(self._next) % len(self._endpoints)]
            try:
                response, content = self._post(endpoint, prompt)
                if response.status_code in (408, 429) or response.status_code >= 500:
                    said = f"{endpoint} says {response.status_code}: {_words(content)}"
                    pause = max(pause, retry_after(response))
                elif response.status_code >= 400:
                    raise _Refused(f"{endpoint} refuses the request ({response.status_code}): {_words(content)}")
                else:
                    text = self._text(json.loads(content))
                    self._last_answer = time.monotonic()
                    return text, None
            except _Refused as error:
                self._last_answer = time.monotonic()
                return None, str(error)
            except _NO_ANSWER as error:
                said = f"{endpoint}: {type(error).__name__} {error}"
            # Another server is asked at once.
            if number + 1 < self._tries and (number + 1) % len(self._endpoints) == 0:
                longest = min(LONGEST_PAUSE_SECONDS, 0.5 * 2 ** (number // len(self._endpoints)))
                time.sleep(max(pause, longest * random.uniform(0.5, 1.0)))
                pause = 0.0
        return None, f"{said:.400} (tried {self._tries} times)"

    def _post(self, endpoint: str, prompt: str) -> tuple[requests.Response, bytes]:
        content: dict[str, Any] = (
            {"messages": [{"role": "user", "content": prompt}]} if self._chat else {"prompt": prompt}
        )
        body: Any = {"model": self._model, "temperature": 0.0, "max_tokens": self._max_new_tokens, **content}
        url = f"{endpoint}/v1/{'chat/completions' if self._chat else 'completions'}"
        until = time.monotonic() + self._timeout_seconds
        limits = (_CONNECT_SECONDS, self._timeout_seconds)  # of the silence between two parts of the answer
        with self._session().post(url, json=body, headers=self._headers, timeout=limits, stream=True) as response:
            parts = []
            for part in response.iter_content(1):
                parts.append(part)
                if time.monotonic() > until:
                    raise requests.Timeout(f"no whole answer within {self._timeout_seconds:g} s")
        return response, b"".join(parts)

    def _text(self, answer: dict[str, Any]) -> str:
        choice = answer["choices"][0]
        # A server that keeps the reasoning apart may have nothing left: that is an answer, without a verdict.
        text = (choice["message"]["content"] or "") if self._chat else choice["text"]
        if not isinstance(text, str):
            raise ValueError(f"no text but {text!r:.100}")
        return text

    def _session(self) -> requests.Session:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
        return self._sessions.session

    def _try_servers(self) -> None:
        faults = []
        for endpoint in self._endpoints:
            try:
                response = self._session().get(
                    f"{endpoint}/v1/models", headers=self._headers, timeout=(_CONNECT_SECONDS, _CONNECT_SECONDS)
                )
                if not response.ok:
                    faults.append(f"{endpoint} says {response.status_code}: {_words(response.content)}")
                    continue
                served = [each["id"] for each in response.json()["data"]]
            except _NO_ANSWER as error:
                faults.append(f"{endpoint}: {error}")
                continue
            if self._model not in served:
                raise ValueError(
                    f"model must be one that {endpoint} serves ({', '.join(served)}), got {self._model!r}; correct it."
                )
        if len(faults) == len(self._endpoints):
            raise ValueError(
                f"endpoints must name a server that answers, got none ({'; '.join(faults):.400}); {_CURE}."
            )
        for fault in faults:
            logger.warning("a server of the judge does not answer yet: %s", fault)


def _words(content: bytes) -> str:
    return " ".join(content.decode(errors="replace").split())[:300]
