"""Picture upscalers: resampling filters and neural networks."""
