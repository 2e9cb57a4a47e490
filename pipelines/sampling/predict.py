"""What the network answers, turned into the estimates samplers work with."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from pipelines.checkpoints.model import Family, LoadedModel, Prediction
from pipelines.sampling.sigmas import ModelSigmas, overridden_alphas, with_zero
from pipelines.sampling.types import ConditioningBatch, Control, ControlResiduals, OutputChange, UNetCall

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

LCM_TIMESTEPS = 50
"""Of the 1000 trained timesteps, those a latent consistency model was distilled on (Luo et al. 2023, section 4.3)."""


@dataclass(frozen=True, kw_only=True)
class DiffusionModel:
    """One network with the facts sampling needs about it.

    Attributes:
        unet: The network; `DiffusersUNet` or a toy.
        alphas_cumprod: (1000,) as the job uses it, after overrides; float32 or float16.
        is_edit: Whether guidance has an image direction too (InstructPix2Pix).
        empty_prompt: (77, D) encoding of the empty prompt, for `pad_cond_uncond`; None when not at hand.
    """

    unet: UNetCall
    prediction: Prediction
    alphas_cumprod: Tensor
    is_sdxl: bool = False
    is_edit: bool = False
    empty_prompt: Tensor | None = None

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        *,
        control: Control | None = None,
        change: OutputChange | None = None,
        empty_prompt: Tensor | None = None,
        downcast_alphas: bool = False,
        zero_terminal_snr: bool = False,
    ) -> DiffusionModel:
        """The loaded `model` as sampling sees it, with the job's alpha overrides applied."""
        return cls(
            unet=DiffusersUNet(model.unet, control=control, change=change),
            prediction=model.prediction,
            alphas_cumprod=overridden_alphas(
                model.alphas_cumprod, downcast=downcast_alphas, zero_terminal_snr=zero_terminal_snr
            ),
            is_sdxl=model.family in (Family.SDXL, Family.SDXL_REFINER),
            is_edit=model.is_edit,
            empty_prompt=empty_prompt,
        )


class Predictor(Protocol):
    """One way of asking the network: an estimate per row, and x0 from it."""

    @property
    def sigmas(self) -> Tensor | None:
        """The trained noise levels, ascending; None where samplers count in timesteps."""
        ...

    def __call__(
        self, x: Tensor, sigma: Tensor, conditioning: ConditioningBatch, image_conditioning: Tensor | None
    ) -> Tensor:
        """The estimate for (N, C, h, w) `x` at (N,) `sigma` (or timestep): x0 or eps."""
        ...

    def to_x0(self, x: Tensor, estimate: Tensor, sigma: Tensor) -> Tensor:
        """x0 according to an `estimate` made from `x`."""
        ...


def _wide(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


class SigmaPredictor:
    """x0 from a noise level, for eps and v models; timesteps are fractional unless quantized.

    With c = 1/sqrt(sigma² + 1): eps models give x0 = x - sigma·eps(c·x, t), v models x0 = c²·x - sigma·c·v(c·x, t).

    Source: Karras et al. 2022, table 1 (VP); Salimans & Ho 2022, appendix D; k-diffusion external.py.
    """

    def __init__(self, model: DiffusionModel, *, quantize: bool = False) -> None:
        self._unet, self._prediction = model.unet, model.prediction
        self.table = ModelSigmas.from_alphas(model.alphas_cumprod, quantize=quantize)

    @property
    def sigmas(self) -> Tensor | None:
        return self.table.sigmas

    def __call__(
        self, x: Tensor, sigma: Tensor, conditioning: ConditioningBatch, image_conditioning: Tensor | None
    ) -> Tensor:
        scale = _wide(1 / (sigma**2 + 1) ** 0.5)
        output = self._unet(x * scale, self.table.to_t(sigma), conditioning, image_conditioning)
        if self._prediction is Prediction.V:
            return output * (-_wide(sigma) * scale) + x * (1 / (_wide(sigma) ** 2 + 1))
        return x + output * -_wide(sigma)

    def to_x0(self, x: Tensor, estimate: Tensor, sigma: Tensor) -> Tensor:
        return estimate


class LcmSigmas(ModelSigmas):
    """The 50 noise levels of a latent consistency model, at timesteps 19, 39, … 999 of the 1000.

    Source: A1111 modules/sd_samplers_lcm.py, LCMCompVisDenoiser.
    """

    def __init__(self, alphas_cumprod: Tensor) -> None:
        self._stride = len(alphas_cumprod) // LCM_TIMESTEPS
        kept = alphas_cumprod.float()[self._stride - 1 :: self._stride]
        super().__init__(((1 - kept) / kept) ** 0.5)

    def to_t(self, sigma: Tensor) -> Tensor:
        """The timestep whose level is nearest in log sigma."""
        distances = sigma.log() - self.log_sigmas.to(sigma.device)[:, None]
        return distances.abs().argmin(dim=0).view(sigma.shape) * self._stride + (self._stride - 1)

    def to_sigma(self, t: Tensor) -> Tensor:
        """Sigma of each timestep, interpolated between the 50."""
        return super().to_sigma(((t - (self._stride - 1)) / self._stride).float().clamp(0, len(self) - 1))

    def default_schedule(self, n: int) -> Tensor:
        """`n` levels evenly spaced in timestep between the table's ends, then 0."""
        start, end = (float(self.to_t(self.sigmas[i])) for i in (-1, 0))
        return with_zero(self.to_sigma(torch.linspace(start, end, n)))


class LcmPredictor:
    """x0 of a latent consistency model: the nearest of its levels is used, the output blended with the input.

    The network counts as an eps model whatever it is, as in A1111.

    Source: Luo et al. 2023, eq. 9 with sigma_data 0.5 and timesteps scaled by 10; A1111 modules/sd_samplers_lcm.py.
    """

    def __init__(self, model: DiffusionModel) -> None:
        self._unet = model.unet
        self.table = LcmSigmas(model.alphas_cumprod)

    @property
    def sigmas(self) -> Tensor | None:
        return self.table.sigmas

    def __call__(
        self, x: Tensor, sigma: Tensor, conditioning: ConditioningBatch, image_conditioning: Tensor | None
    ) -> Tensor:
        t = self.table.to_t(sigma)
        eps = self._unet(x * _wide(1 / (sigma**2 + 1) ** 0.5), t, conditioning, image_conditioning)
        denoised = x + eps * -_wide(sigma)
        scaled, data = _wide(t) * 10.0, 0.5
        return scaled / (scaled**2 + data**2) ** 0.5 * denoised + data**2 / (scaled**2 + data**2) * x

    def to_x0(self, x: Tensor, estimate: Tensor, sigma: Tensor) -> Tensor:
        return estimate


class TimestepPredictor:
    """eps at a timestep; v models give eps = sqrt(a)·v + sqrt(1 - a)·x with a at the timestep rounded down.

    Source: Salimans & Ho 2022, appendix D; A1111 modules/sd_samplers_timesteps.py.
    """

    sigmas: Tensor | None = None

    def __init__(self, model: DiffusionModel) -> None:
        self._unet, self._prediction, self._alphas = model.unet, model.prediction, model.alphas_cumprod

    def _alpha(self, timestep: Tensor) -> Tensor:
        return _wide(self._alphas.to(timestep.device)[timestep.to(torch.int)])

    def __call__(
        self, x: Tensor, sigma: Tensor, conditioning: ConditioningBatch, image_conditioning: Tensor | None
    ) -> Tensor:
        output = self._unet(x, sigma, conditioning, image_conditioning)
        if self._prediction is Prediction.V:
            alpha = self._alpha(sigma)
            return alpha.sqrt() * output + (1 - alpha).sqrt() * x
        return output

    def to_x0(self, x: Tensor, estimate: Tensor, sigma: Tensor) -> Tensor:
        alpha = self._alpha(sigma)
        return (x - (1 - alpha).sqrt() * estimate) / alpha.sqrt()


class DiffusersUNet:
    """A diffusers UNet as a `UNetCall`: casts at its boundary, joins image conditioning, adds control residuals.

    Args:
        control: Asked before every call; its residuals are added inside the UNet.
        change: Asked after every call; its answer replaces the UNet's.

    Source: A1111 modules/sd_hijack_unet.py, apply_model and TorchHijackForUnet.cat.
    """

    def __init__(
        self, unet: UNet2DConditionModel, *, control: Control | None = None, change: OutputChange | None = None
    ) -> None:
        self._unet, self._control, self._change = unet, control, change

    def __call__(
        self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, image_conditioning: Tensor | None
    ) -> Tensor:
        count = len(set(conditioning.images))
        if self._unet.dtype is not torch.float32 or count < 2:
            return self._call(x, timestep, conditioning, image_conditioning)
        # Matrix products round differently for different batch sizes. In float32, which is chosen for exactness,
        # each picture's rows are a call of their own, so that a batch equals its pictures made alone bit for bit.
        output = torch.empty_like(x)
        for image in dict.fromkeys(conditioning.images):
            rows = [row for row, owner in enumerate(conditioning.images) if owner == image]
            picture = None if image_conditioning is None else image_conditioning[rows]
            output[rows] = self._call(x[rows], timestep[rows], chosen_rows(conditioning, rows), picture)
        return output

    def _call(
        self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, image_conditioning: Tensor | None
    ) -> Tensor:
        dtype = self._unet.dtype
        sample = x if image_conditioning is None else torch.cat([x, image_conditioning.to(x)], dim=1)
        arguments: dict[str, Any] = {}
        if conditioning.pooled is not None and conditioning.time_ids is not None:
            arguments["added_cond_kwargs"] = {
                "text_embeds": conditioning.pooled.to(x.device, dtype),
                "time_ids": conditioning.time_ids.to(x.device, torch.float32),
            }
        residuals = None if self._control is None else self._control(x, timestep, conditioning)
        if residuals is not None:
            arguments |= _as_arguments(residuals, dtype)
        # A1111 rounds t to half precision with x; bfloat16 would blur t by up to 4 and has no such precedent.
        time = timestep.to(dtype) if dtype is torch.float16 else timestep.float()
        with _as_stability_resizes(self._unet, sample):
            output = self._unet(
                sample.to(dtype),
                time.to(x.device),
                encoder_hidden_states=conditioning.cross_attention.to(x.device, dtype),
                return_dict=False,
                **arguments,
            )[0].float()
        return output if self._change is None else self._change(x, timestep, conditioning, output)


def _as_arguments(residuals: ControlResiduals, dtype: torch.dtype) -> dict[str, Any]:
    """The residuals as `UNet2DConditionModel.forward` takes them."""
    arguments: dict[str, Any] = {}
    if residuals.mid is not None:
        arguments["down_block_additional_residuals"] = tuple(part.to(dtype) for part in residuals.down)
        arguments["mid_block_additional_residual"] = residuals.mid.to(dtype)
    if residuals.inner:
        # diffusers takes them off the front of a list.
        arguments["down_intrablock_additional_residuals"] = [part.to(dtype) for part in residuals.inner]
    return arguments


def chosen_rows(conditioning: ConditioningBatch, rows: Sequence[int]) -> ConditioningBatch:
    """`conditioning` of `rows` alone."""
    chosen = list(rows)
    return replace(
        conditioning,
        cross_attention=conditioning.cross_attention[chosen],
        pooled=None if conditioning.pooled is None else conditioning.pooled[chosen],
        time_ids=None if conditioning.time_ids is None else conditioning.time_ids[chosen],
        images=tuple(conditioning.images[row] for row in chosen),
        is_uncond=tuple(conditioning.is_uncond[row] for row in chosen),
    )


def _as_stability_resizes(unet: UNet2DConditionModel, sample: Tensor) -> AbstractContextManager[None]:
    """`resize_after_upsampling` where a side does not halve evenly on every level; else nothing, as it costs time."""
    factor = 2 ** (len(unet.config["block_out_channels"]) - 1)
    return nullcontext() if not any(side % factor for side in sample.shape[-2:]) else resize_after_upsampling(unet)


@contextmanager
def resize_after_upsampling(unet: torch.nn.Module) -> Generator[None]:
    """Inside the block, upsampled features are fitted to odd sizes after the upsampling convolution, not before it.

    diffusers resizes straight to the skip connection's size and then convolves; Stability's code doubles, convolves
    and A1111 resizes the result. The two differ where latent sides are not multiples of 8, and nowhere else.

    Source: A1111 modules/sd_hijack_unet.py, TorchHijackForUnet.cat.
    """
    from diffusers.models.upsampling import Upsample2D

    wanted: dict[torch.nn.Module, Any] = {}

    def before(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        wanted[module] = kwargs.pop("output_size", None) if len(args) < 2 else args[1]
        return args[:1], kwargs

    def after(module: torch.nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        size = wanted.pop(module, None)
        if size is None or tuple(output.shape[-2:]) == tuple(size):
            return output
        return functional.interpolate(output, size=size, mode="nearest")

    handles: list[Any] = []
    try:
        for module in unet.modules():
            if isinstance(module, Upsample2D):
                handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                handles.append(module.register_forward_hook(after))
        yield
    finally:
        for handle in handles:
            handle.remove()
