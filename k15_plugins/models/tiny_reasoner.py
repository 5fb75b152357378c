"""The tiny language model of the embedded default: a Llama with one token per number, before its warm start."""

import math

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from k15_plugins.tasks.thoughts import LARGEST, WORDS

# Short periods tell neighbours apart, long ones tell small from large.
_PERIODS = (2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 16.0, 25.0, 40.0, 64.0, 128.0, 256.0)
_AMPLITUDE = 0.11


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Build a word-level tokenizer: a token per number and per word of the traces; it decodes with single spaces."""
    tokens = ["<pad>", "<eos>", "<unk>", *WORDS, *(str(number) for number in range(-LARGEST, LARGEST + 1))]
    tokenizer = Tokenizer(WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=512,
    )


def tiny_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Build the model before any training: about 345 thousand parameters in float32.

    All weights are random, but the embeddings of numbers start as waves over the number line, as position embeddings
    do. Neighbours are then alike and adding is a rotation, which is learnt several times faster than a table of sums.

    Args:
        tokenizer: Gives the size of the vocabulary and the special tokens.
        seed: Seed of the weights.
    """
    set_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    numbers = torch.arange(-LARGEST, LARGEST + 1)
    waves = 2 * math.pi * numbers[:, None] / torch.tensor(_PERIODS)
    ids = tokenizer.convert_tokens_to_ids([str(number) for number in numbers.tolist()])
    with torch.no_grad():
        embeddings = model.model.embed_tokens.weight
        embeddings[ids, : 2 * len(_PERIODS)] += _AMPLITUDE * torch.cat([waves.sin(), waves.cos()], dim=1)
    return model
