"""The networks of a checkpoint as its file or folder holds them, before they are placed on a device."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pipelines.checkpoints.libraries import (
    AutoencoderKL,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    UNet2DConditionModel,
)

TextEncoder = CLIPTextModel | CLIPTextModelWithProjection


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Networks on the CPU.

    Attributes:
        vae: None where the checkpoint has none, or where it was not asked for.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL | None
    text_encoders: tuple[TextEncoder, ...]
    alphas_cumprod: Tensor
