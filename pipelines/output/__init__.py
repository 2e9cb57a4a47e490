"""Finished pictures to files: formats, metadata, names, grids."""
