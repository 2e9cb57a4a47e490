"""Prompt text to what the model's cross-attention reads."""
