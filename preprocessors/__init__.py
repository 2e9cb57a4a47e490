"""Image in, control map out: one preprocessor a file."""
