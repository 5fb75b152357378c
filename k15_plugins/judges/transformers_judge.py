"""A judge in the trainer's process: a language model that writes with transformers, on the process's device."""

import hashlib
import logging
from typing import TYPE_CHECKING, Any, Literal

from k15_plugins.judges.prompts import check_chat, check_sizes, longest_prompt, prompt_ids
from k15_plugins.processes import processes
from k15_plugins.rewards.judgement import trained_template

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


class TransformersJudge:
    """Writes the most probable judgement with a language model of transformers, in batches.

    Args:
        model: A causal language model, or its name or folder.
        tokenizer: Its tokenizer; by default that of the model's name or folder.
        max_new_tokens: Longest judgement; one that is cut off has no verdict.
        batch_size: Judgements that are written at once.
        chat: Give the prompt as a user's message, for a model that chats. One that was trained on plain text reads it
            as it is.
        dtype: Type of the weights of a model that is loaded here.

    Attributes:
        template: What the model was trained to read, if its folder says so.

    Raises:
        ValueError: If an argument cannot be, or there is no such model.
    """

    def __init__(
        self,
        model: "str | PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase | None" = None,
        *,
        max_new_tokens: int = 1024,
        batch_size: int = 16,
        chat: bool = False,
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "auto",
    ) -> None:
        from k15_plugins.generation.transformers_generation import TransformersGeneration

        check_sizes(max_new_tokens=max_new_tokens, batch_size=batch_size)
        self.template = trained_template(model)
        if isinstance(model, str):
            model, tokenizer = _load(model, tokenizer, dtype)
        if tokenizer is None:
            raise ValueError("tokenizer must be that of the model, got None; give it.")
        check_chat(tokenizer, chat)
        if tokenizer.pad_token is None:
            raise ValueError("tokenizer must have a padding token, got one without; set tokenizer.pad_token.")
        judge: Any = model
        room = getattr(judge.config, "max_position_embeddings", None) or tokenizer.model_max_length
        self._longest = longest_prompt(room, max_new_tokens)
        self._generate = TransformersGeneration(
            judge.to(processes().device).eval(), tokenizer, max_new_tokens=max_new_tokens, temperature=0.0
        )
        self._tokenizer: Any = tokenizer
        self._batch_size = batch_size
        self._chat = chat
        self.identity = f"transformers {_fingerprint(judge, tokenizer)} chat={chat} max_new_tokens={max_new_tokens}"

    def write(self, prompts: list[str]) -> list[str | None]:
        """Write a judgement for each prompt; None where it is too long for the model, which a warning tells.

        Args:
            prompts: Texts of `judge_prompt`.
        """
        written: list[str | None] = [None] * len(prompts)
        lengths = [len(prompt_ids(self._tokenizer, prompt, self._chat)) for prompt in prompts]
        rows = sorted((row for row in range(len(prompts)) if lengths[row] <= self._longest), key=lengths.__getitem__)
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            given: list[Any] = [prompts[row] for row in batch]
            if self._chat:
                given = [[{"role": "user", "content": prompt}] for prompt in given]
            completions = self._generate(given, seed=0).completion_ids
            texts = self._tokenizer.batch_decode(completions, skip_special_tokens=True)
            for row, text in zip(batch, texts, strict=True):
                written[row] = text
        if len(rows) < len(prompts):
            logger.warning(
                "%d of %d texts are longer than the %d tokens that the judge can read, and get no judgement",
                *(len(prompts) - len(rows), len(prompts), self._longest),
            )
        return written


def _load(name: str, tokenizer: Any, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    try:
        kinds = AutoConfig.from_pretrained(name).architectures or []
        tokenizer = tokenizer or AutoTokenizer.from_pretrained(name, padding_side="left")
        if tokenizer.pad_token is None:
            tokenizer.add_special_tokens({"pad_token": tokenizer.eos_token})
        if not any(kind.endswith("Classification") for kind in kinds):
            return AutoModelForCausalLM.from_pretrained(name, dtype=dtype), tokenizer
    except (OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(
            f"model must be the folder of a causal language model, or its name on the Hub, got {name!r} ({first}); "
            "correct it."
        ) from error
    # transformers would give it a head that is made up at random.
    raise ValueError(
        f"model must be a language model, which can write, got {name!r} with {kinds}; take ClassicModelReward "
        "(reward=classic_model) for it."
    )


def _fingerprint(model: Any, tokenizer: Any) -> str:
    """Return a short text that tells judges apart: by sums and some of each weight, and by what they read."""
    seen: list[Any] = [sorted(tokenizer.get_vocab().items()), tokenizer.chat_template]
    for name, weight in model.named_parameters():
        weight = weight.detach()
        some = weight.flatten()[:: weight.numel() // 1024 + 1].tolist()
        seen.append((name, str(weight.dtype), weight.double().sum().item(), some))
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]
