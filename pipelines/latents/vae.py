"""Encodes pictures into latents and decodes latents into pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from schema.errors import ImageError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

logger = logging.getLogger(__name__)

FLOAT32_NOTE = "The VAE produced NaN in half precision; it runs in float32 from now on."


def scale_factor(vae: AutoencoderKL) -> float:
    """What the UNet's latents are multiplied by relative to the VAE's: 0.18215 (SD 1, 2), 0.13025 (SDXL)."""
    return float(vae.config["scaling_factor"])


def encode(vae: AutoencoderKL, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """A sample of the images' scaled latents.

    Args:
        images: RGB, (B, 3, H, W), float in [-1, 1]; sides that are no multiples of 8 lose what is over.
        generator: CPU generator of the posterior noise, drawn image after image; None draws from torch's global
            generator, as the reference program does.

    Returns:
        (B, 4, H/8, W/8) float32 on the VAE's device, multiplied by the scaling factor.

    Source: A1111 modules/sd_samplers_common.py, images_tensor_to_samples; ldm/modules/distributions.
    """
    encoded: list[Tensor] = []
    for image in images:
        mean, std = _posterior(vae, image[None])
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        encoded.append(mean + std * noise)
    return torch.cat(encoded) * scale_factor(vae)


def encode_mode(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """The most likely latents of the images, **not** scaled: what edit models (InstructPix2Pix) are conditioned on.

    Args:
        images: RGB, (B, 3, H, W), float in [-1, 1]; sides that are no multiples of 8 lose what is over.

    Returns:
        (B, 4, H/8, W/8) float32 on the VAE's device.

    Source: A1111 modules/processing.py, edit_image_conditioning.
    """
    return torch.cat([_posterior(vae, image[None])[0] for image in images])


@torch.no_grad()
def _posterior(vae: AutoencoderKL, image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of one image (1, 3, H, W), float32."""

    def moments(dtype: torch.dtype) -> Tensor:
        posterior = cast(Any, vae).encode(image.to(vae.device, dtype)).latent_dist
        return cast(Tensor, posterior.parameters).float()

    mean, log_variance = _without_nan(vae, moments, None).chunk(2, dim=1)
    return mean, torch.exp(0.5 * log_variance.clamp(-30.0, 20.0))


@torch.no_grad()
def decode(
    vae: AutoencoderKL, latents: Tensor, *, tiled: bool = False, on_note: Callable[[str], None] | None = None
) -> Iterator[Tensor]:
    """Decodes scaled latents, one picture at a time, so that a batch needs no more memory than one picture.

    Args:
        latents: (B, 4, h, w), multiplied by the scaling factor.
        tiled: Decode overlapping tiles of 64 cells and blend them: less memory, slightly different colours.
        on_note: Told when the VAE had to be switched to float32.

    Yields:
        Per image (3, 8h, 8w) float32 on the CPU, in [-1, 1] but for overshoot, which is left to the caller to clamp.

    Raises:
        ImageError: If the result is NaN in float32, too.

    Source: A1111 modules/sd_samplers_common.py, decode_first_stage; modules/processing.py, decode_latent_batch.
    """
    for latent in latents:
        scaled = latent[None].to(vae.device, torch.float32) / scale_factor(vae)

        def picture(dtype: torch.dtype, scaled: Tensor = scaled) -> Tensor:
            with _tiling(vae, tiled):
                return cast(Tensor, cast(Any, vae).decode(scaled.to(dtype)).sample)

        yield _without_nan(vae, picture, on_note)[0].float().cpu()


def _without_nan(
    vae: AutoencoderKL, run: Callable[[torch.dtype], Tensor], on_note: Callable[[str], None] | None
) -> Tensor:
    """`run` in the VAE's dtype; if that gives NaN, again in float32, in which the VAE stays.

    Source: A1111 modules/processing.py, decode_latent_batch (auto_vae_precision).
    """
    result = run(vae.dtype)
    if not torch.isnan(result).any():
        return result
    if vae.dtype != torch.float32:
        logger.warning(FLOAT32_NOTE)
        if on_note:
            on_note(FLOAT32_NOTE)
        nn.Module.to(vae, torch.float32)
        result = run(torch.float32)
        if not torch.isnan(result).any():
            return result
    raise ImageError("The VAE produced NaN. The latents or the VAE's weights are broken: try another VAE or sampler.")


@contextmanager
def _tiling(vae: AutoencoderKL, tiled: bool) -> Generator[None]:
    if not tiled:
        yield
        return
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()


@contextmanager
def circular_padding(*networks: nn.Module) -> Generator[None]:
    """Inside the block every convolution of the networks wraps round the edges, so that pictures tile without seams.

    Source: A1111 modules/sd_hijack.py, StableDiffusionModelHijack.apply_circular.
    """
    convolutions = [layer for network in networks for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    modes = [layer.padding_mode for layer in convolutions]
    for layer in convolutions:
        layer.padding_mode = "circular"
    try:
        yield
    finally:
        for layer, mode in zip(convolutions, modes, strict=True):
            cast(Any, layer).padding_mode = mode
