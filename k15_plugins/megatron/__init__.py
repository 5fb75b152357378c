"""The Megatron-core engine: tensor, pipeline, expert, data and sequence parallel training of the same objective."""
