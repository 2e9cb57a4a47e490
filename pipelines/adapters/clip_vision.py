"""CLIP's picture encoder: what IP-Adapters and revision make of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipelines.checkpoints.build import filled
from pipelines.checkpoints.libraries import CLIPVisionConfig, CLIPVisionModelWithProjection
from pipelines.checkpoints.shapes import count
from schema.errors import CheckpointError

SIDE = 224
HEADS = 16
"""Attention heads of the encoders in use (ViT-L, ViT-H, ViT-bigG)."""

_OPENAI_WIDTH = 1024
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class PictureEmbedding:
    """What the encoder says of pictures.

    Attributes:
        summary: (N, projection width).
        hidden: (N, tokens, width) of the last but one layer.
    """

    summary: Tensor
    hidden: Tensor


def build_clip_vision(weights: Mapping[str, Tensor]) -> CLIPVisionModelWithProjection:
    """The encoder with these weights (transformers names), in float32 on the CPU.

    Raises:
        CheckpointError: If they are not such an encoder's, or incomplete.
    """
    own = {name: value for name, value in weights.items() if name.startswith(("vision_model.", "visual_projection."))}
    patches = own.get("vision_model.embeddings.patch_embedding.weight")
    projection = own.get("visual_projection.weight")
    if patches is None or projection is None:
        raise CheckpointError("This file holds no CLIP picture encoder (vision_model and visual_projection tensors).")
    width, _, patch, _ = patches.shape
    config = CLIPVisionConfig(
        hidden_size=width,
        patch_size=patch,
        image_size=SIDE,
        num_hidden_layers=count(own, "vision_model.encoder.layers."),
        num_attention_heads=HEADS,
        intermediate_size=own["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        projection_dim=projection.shape[0],
        hidden_act="quick_gelu" if width == _OPENAI_WIDTH else "gelu",
    )
    with torch.device("meta"):
        encoder = CLIPVisionModelWithProjection(config)
    complete = filled(encoder, own, torch.float32, "picture encoder")
    embeddings: Any = complete.get_submodule("vision_model.embeddings")
    positions = torch.arange(int(embeddings.num_positions))[None]
    embeddings.register_buffer("position_ids", positions, persistent=False)
    return complete


def clip_pixels(image: Image.Image) -> Tensor:
    """(1, 3, 224, 224): the short side at 224 (bicubic), the centre cut out, CLIP's normalisation."""
    factor = SIDE / min(image.size)
    size = max(SIDE, round(image.width * factor)), max(SIDE, round(image.height * factor))
    scaled = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    pixels = np.asarray(scaled.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
    normal = (pixels - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
    return torch.from_numpy(normal).permute(2, 0, 1)[None].contiguous()


def embed_pictures(encoder: CLIPVisionModelWithProjection, pixels: Tensor) -> PictureEmbedding:
    """What `encoder` says of (N, 3, 224, 224) normalised `pixels`."""
    first = next(encoder.parameters())
    made: Any = encoder(pixels.to(first.device, first.dtype), output_hidden_states=True)
    return PictureEmbedding(summary=made.image_embeds, hidden=made.hidden_states[-2])
