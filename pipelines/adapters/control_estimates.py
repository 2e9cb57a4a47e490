"""Units that change what the UNet estimates: inpaint_only keeps what is not masked, tile_colorfix keeps colours.

Source: sd-webui-controlnet scripts/hook.py, UnetHook.hook (inpaint hijack and colour fix).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from pipelines.adapters.control_units import UnchangedUNet, UnitForce
from pipelines.adapters.controlnet import HALF
from pipelines.checkpoints.model import Prediction
from pipelines.sampling.types import ConditioningBatch

SHARPNESS_SHARE = 0.01
"""How far the slider's 1 blurs the negative prompt's estimate."""


class CleanEstimate:
    """x0 of a UNet's output and back, at whole timesteps.

    With a = alphas_cumprod[t]: x0 = (x - sqrt(1 - a)·eps) / sqrt(a), or for v models sqrt(a)·x - sqrt(1 - a)·v.
    """

    def __init__(self, alphas_cumprod: Tensor, prediction: Prediction) -> None:
        self._alphas, self._is_v = alphas_cumprod, prediction is Prediction.V

    def _roots(self, x: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor]:
        place = timestep.float().round().long().clamp(0, len(self._alphas) - 1)
        alpha = self._alphas.to(x.device)[place].view(-1, 1, 1, 1).to(x)
        return alpha.sqrt(), (1 - alpha).sqrt()

    def x0(self, x: Tensor, timestep: Tensor, output: Tensor) -> Tensor:
        """The clean latents that `output`, made from `x` (N, 4, h, w) at `timestep` (N,), speaks of."""
        signal, noise = self._roots(x, timestep)
        return signal * x - noise * output if self._is_v else (x - noise * output) / signal

    def output(self, x: Tensor, timestep: Tensor, x0: Tensor) -> Tensor:
        """The output that speaks of `x0`."""
        signal, noise = self._roots(x, timestep)
        return (signal * x - x0) / noise if self._is_v else (x - signal * x0) / noise


class _ChangedEstimate(UnchangedUNet, ABC):
    """The change of an estimate, blended by the unit's weight."""

    def __init__(self, estimate: CleanEstimate, original: Tensor, weight: float, force: UnitForce) -> None:
        self.force = force
        self._estimate, self._original, self._share = estimate, original, min(max(weight, 0.0), 1.0)

    def adjusted(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, output: Tensor) -> Tensor:
        """`output` with its x0 changed."""
        latents = x[:, : output.shape[1]]
        x0 = self._changed(self._estimate.x0(latents, timestep, output), conditioning)
        return self._share * self._estimate.output(latents, timestep, x0) + (1 - self._share) * output

    @abstractmethod
    def _changed(self, x0: Tensor, conditioning: ConditioningBatch) -> Tensor:
        """The estimate this kind makes of `x0`."""


class InpaintOnlyRun(_ChangedEstimate):
    """Outside the mask the estimate is the original picture.

    Args:
        original: (1, 4, h, w), the encoded picture, scaled.
        mask: (1, 1, H, W) in pixels, 1 = repaint.
    """

    def __init__(
        self, estimate: CleanEstimate, original: Tensor, mask: Tensor, weight: float, force: UnitForce
    ) -> None:
        super().__init__(estimate, original, weight, force)
        solid = (mask > HALF).float()
        self._mask = functional.max_pool2d(solid, kernel_size=10, stride=8, padding=1)

    def _changed(self, x0: Tensor, conditioning: ConditioningBatch) -> Tensor:
        mask = self._mask.to(x0)
        return self._original.to(x0) * (1 - mask) + x0 * mask


class ColorFixRun(_ChangedEstimate):
    """The estimate's large-scale colours are the original's.

    Args:
        radius: Of the mean filter, in latent cells.
        sharpness: 0 to 2: how much softer the negative prompt's estimate is made; 0 for none.
    """

    def __init__(
        self,
        estimate: CleanEstimate,
        original: Tensor,
        weight: float,
        force: UnitForce,
        *,
        radius: int,
        sharpness: float = 0.0,
    ) -> None:
        super().__init__(estimate, original, weight, force)
        self._radius, self._sharpness = radius, sharpness * SHARPNESS_SHARE

    def _changed(self, x0: Tensor, conditioning: ConditioningBatch) -> Tensor:
        fixed = x0 - _mean(x0, self._radius) + _mean(self._original.to(x0), self._radius)
        if self._sharpness:
            soft = self._sharpness * _mean(fixed, self._radius) + (1 - self._sharpness) * fixed
            negative = torch.tensor(conditioning.is_uncond, device=x0.device).view(-1, 1, 1, 1)
            fixed = torch.where(negative, soft, fixed)
        return fixed


def _mean(x: Tensor, radius: int) -> Tensor:
    """The mean over (2·radius + 1)² cells, the border repeated."""
    padded = functional.pad(x, (radius, radius, radius, radius), mode="replicate")
    return functional.avg_pool2d(padded, 2 * radius + 1, stride=1)
