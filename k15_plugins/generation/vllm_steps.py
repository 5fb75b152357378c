"""vLLM in the trainer's process, driven step by step, so that each response stops where it should (paper 2.6)."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from k15_plugins.generation.segments import Progress, Segment, SegmentRequest, contexts


class SteppedLLM:
    """Stands in for vLLM's `LLM` where TRL calls `generate`, and drives the engine itself: add, step, abort.

    TRL goes on to do all else: sampling parameters, weight sync, sleeping, log-probabilities.

    Args:
        llm: The `LLM` that it stands for.
        request: What is wanted of the prompts that `generate` is given.
        eos_ids: Tokens that end a response.
    """

    def __init__(self, llm: Any, request: SegmentRequest, eos_ids: list[int]):
        self.llm = llm
        self.progress = Progress(request, eos_ids, torch.device("cpu"))
        self.allowances = request.allowances
        self.ended: set[int] = set()  # rows that the engine has ended by itself

    def __getattr__(self, name: str) -> Any:
        return getattr(self.llm, name)

    def generate(self, prompts: list[Any], sampling_params: Any, **_: Any) -> list[Any]:
        """Generate one segment after each prompt, as `LLM.generate` would return it.

        Args:
            prompts: vLLM prompts; each goes on from where its response stands.
            sampling_params: vLLM's `SamplingParams`, for all of them.
        """
        from vllm.sampling_params import RequestOutputKind

        engine = self.llm.llm_engine
        for row, (prompt, allowance) in enumerate(zip(prompts, self.allowances, strict=True)):
            params = sampling_params.clone()
            params.max_tokens = allowance
            params.output_kind = RequestOutputKind.DELTA
            engine.add_request(str(row), prompt, params)
        ids: list[list[int]] = [[] for _ in prompts]
        logprobs: list[list[Any]] = [[] for _ in prompts]
        running = set(range(len(prompts)))
        while running:
            new, finished = {}, set()
            for output in engine.step():
                row, completion = int(output.request_id.split("-")[0]), output.outputs[0]
                if row not in running:
                    continue
                new[row] = list(zip(completion.token_ids, completion.logprobs, strict=True))
                if output.finished:
                    finished.add(row)
            running -= finished
            stopped = self._take_in(new, ids, logprobs) & running
            self.ended |= {row for row in finished if not new.get(row) and len(ids[row]) < self.allowances[row]}
            engine.abort_request([str(row) for row in sorted(stopped)])
            running -= stopped
        return [
            SimpleNamespace(
                prompt_token_ids=prompt["prompt_token_ids"],
                outputs=[SimpleNamespace(token_ids=ids[row], logprobs=logprobs[row])],
            )
            for row, prompt in enumerate(prompts)
        ]

    def _take_in(
        self, new: dict[int, list[tuple[int, Any]]], ids: list[list[int]], logprobs: list[list[Any]]
    ) -> set[int]:
        """Add what a step has brought, token by token, and return the rows that are halted."""
        while new:
            rows = sorted(row for row, tokens in new.items() if tokens and not self.progress.halted_B[row])
            if not rows:
                break
            firsts = [new[row].pop(0) for row in rows]
            for row, (token, logprob) in zip(rows, firsts, strict=True):
                ids[row].append(token)
                logprobs[row].append(logprob)
            self.progress.step(torch.tensor([token for token, _ in firsts]), torch.tensor(rows))
        return set(self.progress.halted_B.nonzero().flatten().tolist())


def generate_with_vllm_in_steps(
    trainer: Any, single_turn: Callable[..., Any], request: SegmentRequest
) -> list[Segment]:
    """Generate one segment of each response with the vLLM engine in this process.

    Args:
        trainer: A `GRPOTrainer` with `vllm_mode="colocate"`.
        single_turn: `GRPOTrainer._generate_single_turn` of it.
        request: What is wanted.
    """
    generation = trainer.vllm_generation
    llm = generation.llm
    generation.llm = stepped = SteppedLLM(llm, request, trainer.eos_token_ids)
    try:
        ids, logps = single_turn(contexts(request), request.images, request.multimodal_fields, 1)
    finally:
        generation.llm = llm
    return [
        Segment(list(row), list(logps_T), place in stepped.ended)
        for place, (row, logps_T) in enumerate(zip(ids, logps, strict=True))
    ]
