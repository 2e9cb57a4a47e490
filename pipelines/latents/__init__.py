"""Between pictures and latents: VAE, previews, resizing."""
