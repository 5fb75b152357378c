"""Choosing what a model is trained on."""
