"""A vLLM server: one segment of each response, and what happens when the server is lost (paper 2.6)."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import requests
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset

from k15_plugins.generation.segments import Segment, SegmentRequest, contexts
from k15_plugins.rollouts.repetition import first_repetition
from k15_plugins.tasks.problems import prompts_of

_CHECK_SECONDS = 2.0


class ServerLost(RuntimeError):
    """The vLLM server has died or stopped answering; nothing that was generated before is lost."""


def check_engines(args: Any) -> None:
    """Refuse a vLLM server of several engines, which would write copies of each other; waits for it as TRL does.

    To be called before the trainer is built: TRL then connects to each engine.

    Args:
        args: A `GRPOConfig` with `vllm_mode="server"`.

    Raises:
        ValueError: If the server has several engines.
    """
    url = args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}"
    end = time.monotonic() + args.vllm_server_timeout
    while time.monotonic() < end:
        try:
            answer = requests.get(f"{url}/server_info", params={"config_format": "json"}, timeout=_CHECK_SECONDS)
        except requests.RequestException:
            time.sleep(0.5)
            continue
        # TRL tells of a server that does not answer, or that has no such page.
        engines = answer.json()["vllm_config"]["parallel_config"]["data_parallel_size"] if answer.ok else 1
        if engines > 1:
            raise ValueError(
                f"the vLLM server at {url} must be one engine, got --data-parallel-size {engines}: its engines share "
                "a seed, so that the responses to a problem are copies of each other; start it with "
                "--tensor-parallel-size, or on fewer GPUs."
            )
        return


def check_context(trainer: Any) -> None:
    """Refuse a vLLM server whose context is too short for a prompt and the longest response together.

    Args:
        trainer: A `GRPOTrainer` with `vllm_mode="server"`.

    Raises:
        ValueError: On all processes.
    """
    fault: list[str | None] = [None]
    if trainer.accelerator.is_main_process:
        client = trainer.vllm_generation.vllm_client
        info = client.get_server_info()
        fault = [_fault_of_lengths(trainer, client.base_url, info["model_config"]["max_model_len"])]
    broadcast_object_list(fault)
    if fault[0] is not None:
        raise ValueError(fault[0])


def _fault_of_lengths(trainer: Any, url: str, context_tokens: int) -> str | None:
    longest, most = 0, trainer.args.max_completion_length
    evaluated = trainer.eval_dataset if isinstance(trainer.eval_dataset, dict) else {None: trainer.eval_dataset}
    for data in (trainer.train_dataset, *evaluated.values()):
        # Images take as many tokens as the server makes of them.
        if isinstance(data, Dataset) and not trainer._is_vlm:
            for batch in prompts_of(data).iter(batch_size=1000):
                longest = max(longest, *(len(ids) for ids in trainer._tokenize_prompts(batch["prompt"])[0]))
    if longest + most <= context_tokens:
        return None
    return (
        f"the longest prompt ({longest} tokens) and max_completion_length={most} must fit into the --max-model-len "
        f"{context_tokens} of the vLLM server at {url}; start it with --max-model-len {longest + most}, set a smaller "
        "max_completion_length, or leave out long prompts."
    )


def generate_with_vllm_server(trainer: Any, single_turn: Callable[..., Any], request: SegmentRequest) -> list[Segment]:
    """Generate one segment of each response on a vLLM server.

    The server takes one limit for a request, so there is one for each limit, all at the same time. What goes beyond a
    repetition that began in an earlier segment is cut off here.

    Args:
        trainer: A `GRPOTrainer` with `vllm_mode="server"`.
        single_turn: `GRPOTrainer._generate_single_turn` of it.
        request: What is wanted.

    Raises:
        ServerLost: On all processes, if the server does not answer for `server_patience_seconds`.
    """
    generation, rule = trainer.vllm_generation, request.repetition
    own = generation.generation_kwargs
    # The main process asks for all, and TRL shares the answers out in equal parts.
    spare = max(gather_object([len(request.allowances)])) - len(request.allowances)
    limits = gather_object(request.allowances + request.allowances[:1] * spare)
    prompt_ids = contexts(request)
    prompt_ids += prompt_ids[:1] * spare
    images = None if request.images is None else [*request.images, *request.images[:1] * spare]
    if rule is not None:
        detection = {
            "max_pattern_size": rule.max_period,
            "min_pattern_size": rule.min_period,
            "min_count": rule.min_count,
        }
        generation.generation_kwargs = {**own, "repetition_detection": detection}
    try:
        ids, logps = watched_single_turn(
            trainer, single_turn, prompt_ids, images, request.multimodal_fields, 1, limits=limits
        )
    finally:
        generation.generation_kwargs = own
    segments = []
    own_number = len(request.allowances)
    for row, logps_T, started_T, allowance in zip(
        ids[:own_number], logps[:own_number], request.started, request.allowances, strict=True
    ):
        length = min(len(row), allowance)
        if rule is not None:
            stop = first_repetition([*started_T, *row], rule, after=len(started_T))
            length = length if stop is None else min(length, stop - len(started_T))
        is_ended = length == len(row) < allowance
        segments.append(Segment(list(row[:length]), list(logps_T[:length]), is_ended))
    return segments


def watched_single_turn(
    trainer: Any, single_turn: Callable[..., Any], *args: Any, limits: list[int] | None = None
) -> tuple[list, list]:
    """Generate on a vLLM server as TRL does, and watch over the server meanwhile.

    Args:
        trainer: A `GRPOTrainer` with `vllm_mode="server"`.
        single_turn: `GRPOTrainer._generate_single_turn` of it.
        *args: What it takes.
        limits: Most tokens of each response of all processes, in their order; None for TRL's one limit.

    Raises:
        ServerLost: On all processes, if the server does not answer for `server_patience_seconds`.
    """
    generation = trainer.vllm_generation
    client = generation.vllm_client if trainer.accelerator.is_main_process else None
    watch = Watch(client, trainer.args.server_patience_seconds)
    if trainer.state.global_step != trainer._last_loaded_step:
        watch.run(generation.sync_weights)
        trainer._last_loaded_step = trainer.state.global_step
    with watch.over_generate(limits):
        ids, logps = single_turn(*args)
    if not ids:
        raise ServerLost(watch.reason)
    return ids, logps


class Watch:
    """Watches over what the main process asks of a server, so that all processes learn when it is lost.

    Requests have no time limit of their own, since a long rollout may take long; instead the server is asked for its
    health meanwhile.

    Args:
        client: TRL's `VLLMClient` on the main process, None on the others.
        patience_seconds: How long the server may not answer.
    """

    def __init__(self, client: Any, patience_seconds: float):
        self.client = client
        self.patience_seconds = patience_seconds
        self.reason = "the vLLM server was lost, as the main process says"

    def run(self, function: Callable[[], Any]) -> None:
        """Call a function on all processes.

        Args:
            function: Asks the server for something on the main process.

        Raises:
            ServerLost: On all processes, if the server is lost before or meanwhile.
        """
        lost = [False]
        if self.client is None:
            function()
        else:
            lost = ["output" not in self._outcome(function)]
        broadcast_object_list(lost)
        if lost[0]:
            raise ServerLost(self.reason)

    @contextmanager
    def over_generate(self, limits: list[int] | None = None) -> Iterator[None]:
        """Let the client's `generate` heed a limit for each prompt, and return nothing at all when the server is lost.

        TRL calls it on the main process and shares what it returns. An exception there would leave the other
        processes waiting; nothing is what they all see.

        Args:
            limits: Most tokens for each prompt; None for one limit, which the caller of `generate` gives.
        """
        if self.client is None:
            yield
            return
        generate = self.client.generate if limits is None else partial(_in_requests, self.client.generate, limits)
        nothing: dict[str, list[Any]] = {"prompt_ids": [], "completion_ids": [], "logprobs": []}
        self.client.generate = lambda **arguments: self._outcome(lambda: generate(**arguments)).get("output", nothing)
        try:
            yield
        finally:
            del self.client.generate

    def _outcome(self, function: Callable[[], Any]) -> dict[str, Any]:
        """Call a function in a thread that is left behind when the server is lost; `output` is what it returned."""
        outcome: dict[str, Any] = {}

        def work() -> None:
            try:
                outcome["output"] = function()
            except Exception as error:
                outcome["error"] = error

        # Not a pool: nothing may wait for a request that never ends.
        worker = threading.Thread(target=work, daemon=True)
        if _answers(self.client, self.patience_seconds):
            worker.start()
        while worker.is_alive():
            worker.join(_CHECK_SECONDS)
            if worker.is_alive() and not _answers(self.client, self.patience_seconds):
                break
        if "output" not in outcome:
            self.reason = _reason(self.client, self.patience_seconds, outcome.get("error"))
        return outcome


def _in_requests(generate: Callable[..., Any], limits: list[int], prompts: list, **arguments: Any) -> dict[str, Any]:
    """Call `generate` for each limit, all at the same time, and return the answers in the order of the prompts."""
    features = arguments.pop("features", None)
    places = {limit: [place for place, each in enumerate(limits) if each == limit] for limit in limits}
    answers: dict[int, dict[str, Any]] = {}
    errors: list[Exception] = []

    def ask(limit: int) -> None:
        chosen = places[limit]
        arguments_here = {
            **arguments,
            "max_tokens": limit,
            "features": None if features is None else [features[place] for place in chosen],
        }
        try:
            answers[limit] = generate(prompts=[prompts[place] for place in chosen], **arguments_here)
        except Exception as error:
            errors.append(error)

    # Not a pool, as in `Watch`.
    workers = [threading.Thread(target=ask, args=(limit,), daemon=True) for limit in places]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    merged: dict[str, Any] = {name: [None] * len(prompts) for name in answers[limits[0]]}
    for limit, chosen in places.items():
        for name, values in answers[limit].items():
            for place, value in zip(chosen, values, strict=True):
                merged[name][place] = value
    return merged


def _answers(client: Any, patience_seconds: float) -> bool:
    """Ask the server for its health until it answers or the patience is over."""
    end = time.monotonic() + patience_seconds
    while True:
        try:
            if requests.get(f"{client.base_url}/health", timeout=min(_CHECK_SECONDS, patience_seconds)).ok:
                return True
        except requests.RequestException:
            pass
        if time.monotonic() >= end:
            return False
        time.sleep(min(0.5, patience_seconds))


def _reason(client: Any, patience_seconds: float, error: Exception | None = None) -> str:
    if error is not None and _answers(client, 0):
        return f"the vLLM server at {client.base_url} refused: {' '.join(str(error).split())[:300]}"
    return f"the vLLM server at {client.base_url} did not answer for {patience_seconds:g} s"
