"""The engine: checkpoints, conditioning, sampling, latents, adapters, output and jobs."""
