"""A new language model, and a tokenizer that is trained on its documents: byte-level, so that it reads every text."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast, set_seed

PADDING, END = "<pad>", "<eos>"


def train_tokenizer(documents: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer.

    Args:
        documents: What it is to write shortly.
        vocab_size: Tokens, 258 at least: a byte each, one for padding and one for the end.

    Raises:
        ValueError: If there are fewer.
    """
    smallest = len(pre_tokenizers.ByteLevel.alphabet()) + 2
    if vocab_size < smallest:
        raise ValueError(f"vocab_size must be {smallest} or more, a token for each byte, got {vocab_size}; set 1024.")
    tokenizer = Tokenizer(BPE())
    # Digits stand alone, so that numbers of any length are written alike.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        documents,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[PADDING, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PADDING, eos_token=END, padding_side="left")


def new_llama(
    tokenizer: PreTrainedTokenizerBase,
    *,
    hidden_size: int,
    layers: int,
    heads: int,
    length: int,
    seed: int,
    rope_theta: float = 10_000.0,
) -> LlamaForCausalLM:
    """Build a Llama with random weights.

    Args:
        tokenizer: Gives the size of the vocabulary and the special tokens.
        hidden_size: Of its layers, a multiple of `heads`.
        layers: Their number.
        heads: Of attention.
        length: Longest text, tokens.
        seed: Seed of the weights.
        rope_theta: Base of the rotary embeddings.

    Raises:
        ValueError: If the heads do not divide the size of the layers.
    """
    if hidden_size % (2 * heads):
        raise ValueError(
            f"hidden_size must be a multiple of twice heads={heads}, got {hidden_size}; change one of them."
        )
    set_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden_size,
            intermediate_size=-(-hidden_size * 8 // 3 // 32) * 32,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=length,
            rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
