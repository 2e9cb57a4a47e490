"""Checkpoint files: found, recognised, loaded and cached."""
