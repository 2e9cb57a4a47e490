"""Between PIL pictures and the tensors that the VAE takes."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_tensor(images: list[Image.Image]) -> Tensor:
    """Pictures of one size as (B, 3, H, W) float32 in [-1, 1]."""
    arrays = [np.asarray(image.convert("RGB"), dtype=np.float32) / 255 for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) * 2 - 1


def to_image(decoded: Tensor) -> Image.Image:
    """A decoded picture (3, H, W) in [-1, 1] as 8-bit RGB; values are cut off, not rounded.

    Source: A1111 modules/processing.py, process_images_inner (astype(np.uint8)).
    """
    scaled = ((decoded.float() + 1) / 2).clamp(0, 1)
    return Image.fromarray((255.0 * scaled.permute(1, 2, 0).cpu().numpy()).astype(np.uint8))
