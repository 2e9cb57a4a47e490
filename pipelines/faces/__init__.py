"""Face detection and restoration."""
