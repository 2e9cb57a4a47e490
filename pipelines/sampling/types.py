"""Protocols and small values shared by samplers, denoisers and the code that runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Denoise(Protocol):
    """The hinge of the engine: what a sampler asks at every evaluation.

    For samplers over sigmas the answer is the estimate of the clean latents x0; for samplers over timesteps
    (`timestep_samplers.py`) the second argument is a timestep and the answer is the noise estimate epsilon.
    """

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor:
        """The estimate for `x` (B, C, h, w) float32 at noise level `sigma` (B,), same shape as `x`."""
        ...


@dataclass(frozen=True, kw_only=True)
class StepInfo:
    """Where sampling stands, given to `on_step` before each evaluation of the model.

    Attributes:
        call: 0-based index of the evaluation about to start (conditional and unconditional together are one).
        calls: Evaluations expected in this pass (second-order samplers two per step); adaptive samplers may exceed it.
        step: 0-based index of the sampler step under way.
        steps: Steps of this pass.
        sigma: Noise level of the first image (a timestep for timestep samplers).
        denoised: x0 estimate of the previous evaluation for the preview, (B, 4, h, w); None before the first.
    """

    call: int
    calls: int
    step: int
    steps: int
    sigma: float
    denoised: Tensor | None


OnStep = Callable[[StepInfo], None]
"""Reports progress; raises `schema.errors.Interrupted` to end sampling with the last x0 estimate."""

StepReport = Callable[[int], None]
"""What a sampler calls with the 0-based index of each step it begins."""


class StepNoise(Protocol):
    """Source of the noise a sampler adds between two noise levels."""

    def __call__(self, sigma: Tensor, sigma_next: Tensor, images: Sequence[int] | None = None) -> Tensor:
        """Unit-variance noise for the step `sigma` → `sigma_next`.

        Args:
            sigma: Noise level the step leaves, scalar.
            sigma_next: Noise level the step reaches, scalar.
            images: Indexes of the images that take this step; None means all. Only their generators advance.

        Returns:
            (number of images, C, h, w) float32.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ConditioningBatch:
    """What the UNet is told about the rows of one call.

    Attributes:
        cross_attention: (N, T, D) text states.
        pooled: (N, P) for SDXL, else None.
        time_ids: (N, 6) or (N, 5) for SDXL, else None.
        images: Index of the picture of the batch each row belongs to, length N.
        is_uncond: Whether a row is a negative prompt, length N.
        call: 0-based index of the evaluation this call is part of.
        calls: Evaluations expected in this pass.
    """

    cross_attention: Tensor
    pooled: Tensor | None = None
    time_ids: Tensor | None = None
    images: tuple[int, ...] = ()
    is_uncond: tuple[bool, ...] = ()
    call: int = 0
    calls: int = 1


class UNetCall(Protocol):
    """The network as guidance sees it: a toy function in tests, `predict.DiffusersUNet` in earnest."""

    def __call__(
        self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, image_conditioning: Tensor | None
    ) -> Tensor:
        """The network's output for (N, 4, h, w) float32 `x` at (N,) float `timestep`, shape and dtype as `x`.

        Args:
            image_conditioning: (N, 5, h, w) for inpainting models (mask, masked latents), (N, 4, h, w) for edit
                models, None for the others; concatenated to `x` by the callee.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ControlResiduals:
    """What control networks add inside the UNet.

    Attributes:
        down: One tensor per skip connection, added before the decoder reads it; empty for none.
        mid: Added after the middle block; None with an empty `down`.
        inner: Features added inside the encoder, one per level (T2I-Adapters); empty for none.
    """

    down: tuple[Tensor, ...] = ()
    mid: Tensor | None = None
    inner: tuple[Tensor, ...] = ()

    def __add__(self, other: ControlResiduals) -> ControlResiduals:
        """Both together."""
        mid = self.mid if other.mid is None else other.mid if self.mid is None else self.mid + other.mid
        return ControlResiduals(down=_sum(self.down, other.down), mid=mid, inner=_sum(self.inner, other.inner))


def _sum(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if not first or not second:
        return first or second
    return tuple(a + b for a, b in zip(first, second, strict=True))


class Control(Protocol):
    """Control networks of a job, asked once per UNet call; None means nothing to add at this call."""

    def __call__(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> ControlResiduals | None: ...


class OutputChange(Protocol):
    """What a job changes in the UNet's output, asked once per UNet call."""

    def __call__(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, output: Tensor) -> Tensor:
        """The output to use in place of `output` (N, 4, h, w), made from `x` (N, 4, h, w) at `timestep` (N,)."""
        ...
