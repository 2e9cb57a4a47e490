"""Enlarging latents without leaving latent space: the "Latent …" upscalers of hires fix."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from pipelines.registry import Registry


@dataclass(frozen=True, kw_only=True)
class LatentUpscaleMode:
    """One way of interpolating latents.

    Attributes:
        name: A1111's label.
        interpolation: Mode of `torch.nn.functional.interpolate`.
        antialias: Low-pass before sampling; only matters when shrinking.
    """

    name: str
    interpolation: str
    antialias: bool = False
    aliases: tuple[str, ...] = ()


LATENT_UPSCALE_MODES = Registry(
    "Latent upscaler",
    (
        LatentUpscaleMode(name="Latent", interpolation="bilinear"),
        LatentUpscaleMode(name="Latent (antialiased)", interpolation="bilinear", antialias=True),
        LatentUpscaleMode(name="Latent (bicubic)", interpolation="bicubic"),
        LatentUpscaleMode(name="Latent (bicubic antialiased)", interpolation="bicubic", antialias=True),
        LatentUpscaleMode(name="Latent (nearest)", interpolation="nearest"),
        LatentUpscaleMode(name="Latent (nearest-exact)", interpolation="nearest-exact"),
    ),
)
"""Modes in display order; the first is used when none is chosen.

Source: A1111 modules/shared.py, latent_upscale_modes.
"""


def resize_latents(latents: Tensor, *, height: int, width: int, mode: LatentUpscaleMode) -> Tensor:
    """`latents` (B, C, h, w) interpolated to (B, C, `height`, `width`) latent cells; corners are not aligned.

    Source: A1111 modules/processing.py, sample_hr_pass.
    """
    return functional.interpolate(latents, size=(height, width), mode=mode.interpolation, antialias=mode.antialias)
