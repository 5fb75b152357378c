"""A tiny Llama whose response lengths follow a wanted distribution, by its weights alone.

Each token's successors have given probabilities: the embedding of a token is a code of its own, the layers compute but
add nothing to it, and the output layer maps the code to the log-probabilities. So any engine samples the same lengths,
in one piece or in segments, and nothing in the engines is changed. The model is so small that a step of an engine
costs nearly the same for any batch, as on a GPU, where decoding waits for the weights to be read.
"""

from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Successors = dict[str, dict[str, float]]

ROOTS = 64  # prompts that a model may tell apart
WIDTH = 192
_SURE = 40.0  # nats between what may follow and what may not
_END = "<eos>"


def mixture(means_tokens: list[float]) -> Successors:
    """Return successors for one prompt per mean: its response has a geometric length of this mean.

    Args:
        means_tokens: Of each prompt.
    """
    return {f"p{place}": {f"p{place}": 1 - 1 / mean, _END: 1 / mean} for place, mean in enumerate(means_tokens)}


def countdown(lengths: list[list[int]]) -> Successors:
    """Return successors for one prompt per list: its response has one of the listed lengths, each equally likely.

    The first token is drawn and says how many are to follow; from there it goes down to the end.

    Args:
        lengths: Of each prompt, in tokens, the end of the sequence included.
    """
    number = max(max(row) for row in lengths)
    names = [_END, *(str(left) for left in range(1, number))]
    successors: Successors = {names[left]: {names[left - 1]: 1.0} for left in range(1, number)}
    for place, row in enumerate(lengths):
        successors[f"p{place}"] = {names[length - 1]: row.count(length) / len(row) for length in row}
    return successors


def prompts(successors: Successors) -> list[str]:
    """Return the prompts, of 8 to 24 tokens.

    Args:
        successors: Of each token; those that are named p0, p1 ... end a prompt.
    """
    names = [name for name in successors if name.startswith("p")]
    return [" ".join(["."] * (7 + 5 * place % 17) + [name]) for place, name in enumerate(names)]


def save_chain_model(folder: Any, successors: Successors) -> PreTrainedTokenizerFast:
    """Save the model and its tokenizer, and return the latter.

    Args:
        folder: Takes both.
        successors: Of each token, with their probabilities.
    """
    names = ["<pad>", _END, "<unk>", ".", *successors]
    backend = Tokenizer(WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token=_END, unk_token="<unk>", padding_side="left"
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(names),
            hidden_size=WIDTH,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,  # the smallest that vLLM takes
            max_position_embeddings=4096,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # Prompts have a dimension each; all other tokens share the rest, in random directions.
    codes_VD = torch.zeros(len(names), WIDTH)
    codes_VD[:, ROOTS:] = torch.nn.functional.normalize(torch.randn(len(names), WIDTH - ROOTS), dim=1)
    head_VD = torch.zeros(len(names), WIDTH)
    for token, name in enumerate(names):
        if name.startswith("p"):
            codes_VD[token] = torch.eye(WIDTH)[int(name[1:])]
        for following, probability in successors.get(name, {}).items():
            # The last norm gives a code the length sqrt(WIDTH).
            weight = (_SURE + torch.tensor(probability).log()) / WIDTH**0.5
            head_VD[names.index(following)] += weight * codes_VD[token]
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(codes_VD)
        model.get_output_embeddings().weight.copy_(head_VD)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer
