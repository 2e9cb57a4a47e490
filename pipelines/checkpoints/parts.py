"""The networks of a checkpoint as its file or folder holds them, before they are placed on a device."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pipelines.checkpoints.libraries import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    UNet2DConditionModel,
)

TextEncoder = CLIPTextModel | CLIPTextModelWithProjection


@dataclass(frozen=True, kw_only=True)
class Parts:
    """UNet and text encoders on the CPU; the VAE is loaded apart, for it can be replaced."""

    unet: UNet2DConditionModel
    text_encoders: tuple[TextEncoder, ...]
    alphas_cumprod: Tensor
