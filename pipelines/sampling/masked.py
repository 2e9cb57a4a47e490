"""Keeping the unmasked part of a picture: blending with its own latents at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipelines.sampling.types import Denoise


class Blend(Protocol):
    """How repainted and original latents are mixed at a noise level."""

    def __call__(self, current: Tensor, original: Tensor, mask: Tensor, sigma: Tensor) -> Tensor:
        """The mix of `current` (mask 1) and `original` (mask 0), both (B, C, h, w); `sigma` (B,)."""
        ...


def linear_blend(current: Tensor, original: Tensor, mask: Tensor, sigma: Tensor) -> Tensor:
    """current·mask + original·(1 - mask)."""
    return current * mask + original * (1 - mask)


@dataclass(frozen=True, kw_only=True)
class SoftBlend:
    """The per-step blend of soft inpainting: the mask tightens as noise falls, and vector lengths are kept.

    Attributes:
        power: "Schedule bias": how the mask depends on sigma.
        scale: "Preservation strength": larger keeps more of the original.
        detail_preservation: "Transition contrast boost": exponent k of the mean that lengths are given.

    Source: A1111 extensions-builtin/soft-inpainting/scripts/soft_inpainting.py.
    """

    power: float = 1.0
    scale: float = 0.5
    detail_preservation: float = 4.0

    def __call__(self, current: Tensor, original: Tensor, mask: Tensor, sigma: Tensor) -> Tensor:
        return blend_keeping_length(original, current, self.soft_mask(mask, sigma), self.detail_preservation)

    def soft_mask(self, mask: Tensor, sigma: Tensor) -> Tensor:
        """mask^(sigma^power · scale), with the first image's sigma for all."""
        return torch.pow(mask, (sigma[:1] ** self.power) * self.scale)


def blend_keeping_length(a: Tensor, b: Tensor, share: Tensor, detail_preservation: float) -> Tensor:
    """Mix of `a` (share 0) and `b` (share 1), (B, C, h, w), whose channel vectors have the power mean of both lengths.

    Source: A1111 extensions-builtin/soft-inpainting, latent_blend.
    """
    mixed = a * (1 - share) + b * share
    # The power mean in float64: k-th powers of lengths leave float32's range.
    length = torch.norm(mixed, p=2, dim=1, keepdim=True).to(torch.float64) + 1e-5
    length_a = torch.norm(a, p=2, dim=1, keepdim=True).to(torch.float64).pow(detail_preservation)
    length_b = torch.norm(b, p=2, dim=1, keepdim=True).to(torch.float64).pow(detail_preservation)
    # One share per cell: masks that repeat over channels count once.
    cell = share[..., :1, :, :] if share.ndim > 2 else share
    wanted = (length_a * (1 - cell) + length_b * cell).pow(1 / detail_preservation)
    return mixed * (wanted / length).to(mixed.dtype)


class MaskedDenoiser:
    """A `Denoise` whose x0 keeps the original outside the mask. For samplers over sigmas.

    Args:
        init_latents: (B, C, h, w) of the original.
        mask: 1 = repaint; broadcasts to the latents.

    Source: A1111 modules/sd_samplers_cfg_denoiser.py, apply_blend after guidance.
    """

    def __init__(self, denoise: Denoise, init_latents: Tensor, mask: Tensor, blend: Blend = linear_blend) -> None:
        self._denoise, self._init, self._mask, self._blend = denoise, init_latents, mask, blend

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        return self._blend(self._denoise(x, sigma), self._init, self._mask, sigma)


class MaskedInput:
    """A `Denoise` whose input is blended with the noise-free original first. For samplers over timesteps.

    That the original carries no noise there is A1111's way.

    Source: A1111 modules/sd_samplers_cfg_denoiser.py, mask_before_denoising.
    """

    def __init__(self, denoise: Denoise, init_latents: Tensor, mask: Tensor, blend: Blend = linear_blend) -> None:
        self._denoise, self._init, self._mask, self._blend = denoise, init_latents, mask, blend

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        return self._denoise(self._blend(x, self._init, self._mask, sigma), sigma)
