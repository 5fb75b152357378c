"""How a judge's tokenizer reads a prompt, plain or as a user's message, and what its arguments may be."""

from typing import Any

from k15_plugins.numbers import check_whole_numbers


def prompt_ids(tokenizer: Any, prompt: str, chat: bool) -> list[int]:
    """Return the tokens of a prompt.

    Args:
        tokenizer: Of the judge.
        prompt: Text of `judge_prompt`.
        chat: Give it as a user's message.
    """
    if not chat:
        return tokenizer(prompt)["input_ids"]
    message = {"role": "user", "content": prompt}
    text = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def check_chat(tokenizer: Any, chat: bool) -> None:
    """Refuse chats with a model that knows none.

    Args:
        tokenizer: Of the judge.
        chat: Whether prompts are given as messages.

    Raises:
        ValueError: If the tokenizer has no chat template.
    """
    if chat and not tokenizer.chat_template:
        raise ValueError("chat must be false for a tokenizer without a chat template, got true; leave it out.")


def longest_prompt(room: int, max_new_tokens: int) -> int:
    """Return how many tokens a prompt may have.

    Args:
        room: Tokens of prompt and judgement together.
        max_new_tokens: Longest judgement.

    Raises:
        ValueError: If none are left.
    """
    if max_new_tokens >= room:
        raise ValueError(
            f"max_new_tokens must be below the {room} tokens of the model, got {max_new_tokens}; lower it."
        )
    return room - max_new_tokens


def check_sizes(**values: int) -> None:
    """Refuse what is no whole number from 1.

    Args:
        **values: Arguments, by name.

    Raises:
        ValueError: Naming the argument and its value.
    """
    check_whole_numbers(**values)
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, got {value}; take more.")
