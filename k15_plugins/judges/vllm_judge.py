"""A judge in the trainer's process that writes with an engine of vLLM of its own."""

import logging
import os
from pathlib import Path
from typing import Any, Literal

from k15_plugins.judges.prompts import check_chat, check_sizes, longest_prompt, prompt_ids
from k15_plugins.processes import processes
from k15_plugins.rewards.judgement import trained_template

logger = logging.getLogger(__name__)


class VllmJudge:
    """Writes the most probable judgement with vLLM, which shares the GPU with training.

    The engine keeps its memory all the time. For several processes, start a server and take `ServerJudge`.

    Args:
        model: Name or folder of a causal language model.
        max_new_tokens: Longest judgement; one that is cut off has no verdict.
        chat: Give the prompt as a user's message; see `TransformersJudge`.
        gpu_memory_utilization: Share of the GPU's memory that is the engine's.
        max_model_len: Longest prompt and judgement together, tokens; None for what the model reads.
        dtype: Type of the weights.

    Attributes:
        template: What the model was trained to read, if its folder says so.

    Raises:
        ValueError: If an argument cannot be, there is no such model, or there are several processes.
        ModuleNotFoundError: If vLLM is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        max_new_tokens: int = 1024,
        chat: bool = False,
        gpu_memory_utilization: float = 0.3,
        max_model_len: int | None = None,
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "auto",
    ) -> None:
        from transformers import AutoTokenizer

        check_sizes(
            max_new_tokens=max_new_tokens, **({} if max_model_len is None else {"max_model_len": max_model_len})
        )
        if not 0 < gpu_memory_utilization <= 1:
            raise ValueError(
                f"gpu_memory_utilization must be above 0 and at most 1, got {gpu_memory_utilization}; take 0.3, say."
            )
        number = processes().num_processes
        if number > 1:
            raise ValueError(f"VllmJudge must be in one process, got {number}; start a server, and take ServerJudge.")
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as error:
            first = str(error).partition("\n")[0]
            raise ValueError(
                f"model must be the folder of a causal language model, or its name on the Hub, got {model!r} "
                f"({first}); correct it."
            ) from error
        check_chat(self._tokenizer, chat)
        self.template = trained_template(model)
        self._llm = _engine(model, gpu_memory_utilization, max_model_len, dtype)
        room = self._llm.llm_engine.vllm_config.model_config.max_model_len
        self._longest = longest_prompt(room, max_new_tokens)
        self._chat = chat
        self._max_new_tokens = max_new_tokens
        self.identity = f"vllm {model} {_files(Path(model))} {dtype} chat={chat} max_new_tokens={max_new_tokens}"

    def write(self, prompts: list[str]) -> list[str | None]:
        """Write a judgement for each prompt; None where it is too long for the model, which a warning tells.

        Args:
            prompts: Texts of `judge_prompt`.
        """
        from vllm import SamplingParams

        ids = [prompt_ids(self._tokenizer, prompt, self._chat) for prompt in prompts]
        rows = [row for row, each in enumerate(ids) if len(each) <= self._longest]
        greedy = SamplingParams(temperature=0.0, max_tokens=self._max_new_tokens)
        given: Any = [{"prompt_token_ids": ids[row]} for row in rows]
        outputs = self._llm.generate(given, greedy, use_tqdm=False) if rows else []
        written: list[str | None] = [None] * len(prompts)
        for row, output in zip(rows, outputs, strict=True):
            written[row] = output.outputs[0].text
        if len(rows) < len(prompts):
            logger.warning(
                "%d of %d texts are longer than the %d tokens that the judge can read, and get no judgement",
                *(len(prompts) - len(rows), len(prompts), self._longest),
            )
        return written


def _engine(model: str, gpu_memory_utilization: float, max_model_len: int | None, dtype: str) -> Any:
    import torch

    more: dict[str, Any] = {}
    if not torch.accelerator.is_available():
        from k15_plugins.generation.cpu.vllm import ENVIRONMENT

        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        more = {"enforce_eager": True, "block_size": 32}  # compiling costs a minute
    try:
        from vllm import LLM
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "VllmJudge needs vLLM, which is not installed; run make setup-vllm in a checkout (on a machine with GPUs: "
            "pip install 'trl[vllm]'), or take TransformersJudge or ServerJudge.",
            name="vllm",
        ) from error
    return LLM(
        model,
        gpu_memory_utilization=gpu_memory_utilization,
        max_model_len=max_model_len,
        dtype=dtype,  # type: ignore[arg-type]
        seed=0,
        # The most probable token, whatever generation_config.json of the model says.
        generation_config="vllm",
        **more,
    )


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """Return what changes when a folder's model does: names, sizes and times of its files; nothing for a name."""
    return sorted((each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in folder.glob("*.*"))
