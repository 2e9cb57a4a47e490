"""Geometry and pictures of the second pass: target size, latent crop, what the upscaler gets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from pipelines.resize import ResizeMode, Upscale, resize_image

if TYPE_CHECKING:
    from torch import Tensor

LATENT_FACTOR = 8
"""Pixels per latent cell."""

OLD_FIRST_PASS_PIXELS = 512 * 512


@dataclass(frozen=True, kw_only=True)
class HiresSize:
    """Sizes of both passes.

    Attributes:
        width, height: Pixels of the first pass.
        upscaled_width, upscaled_height: Pixels the first pass's picture is enlarged to.
        crop_columns, crop_rows: Latent columns and rows cut off in all after enlarging.
        infotext: `Hires upscale` or `Hires resize`, as A1111 writes it.
    """

    width: int
    height: int
    upscaled_width: int
    upscaled_height: int
    crop_columns: int = 0
    crop_rows: int = 0
    resize_x: int = 0
    resize_y: int = 0
    infotext: dict[str, float | str]

    @property
    def latent_size(self) -> tuple[int, int]:
        """(rows, columns) of the enlarged latents before the crop."""
        return self.upscaled_height // LATENT_FACTOR, self.upscaled_width // LATENT_FACTOR


def hires_size(
    *,
    width: int,
    height: int,
    scale: float = 2.0,
    resize_x: int = 0,
    resize_y: int = 0,
    old_behavior: bool = False,
) -> HiresSize:
    """Sizes of both passes for the hires fields of a request.

    Args:
        width, height: Pixels of the first pass; with `old_behavior` those of the final picture.
        scale: Used when both resize fields are 0.
        resize_x, resize_y: Target in pixels; with one of them 0 the aspect is kept, with both the picture covers
            the target and is cropped to it.
        old_behavior: A1111's option `use_old_hires_fix_width_height`.

    Source: A1111 modules/processing.py, StableDiffusionProcessingTxt2Img.calculate_target_resolution.
    """
    if old_behavior:
        resize_x, resize_y = width, height
        width, height = old_first_pass_size(width, height)
    if not resize_x and not resize_y:
        return HiresSize(
            width=width,
            height=height,
            upscaled_width=int(width * scale),
            upscaled_height=int(height * scale),
            infotext={"Hires upscale": scale},
        )
    crop_columns = crop_rows = 0
    by_width = resize_x, resize_x * height // width
    by_height = resize_y * width // height, resize_y
    if not resize_y:
        upscaled = by_width
    elif not resize_x:
        upscaled = by_height
    else:
        upscaled = by_width if width / height < resize_x / resize_y else by_height
        crop_columns = (upscaled[0] - resize_x) // LATENT_FACTOR
        crop_rows = (upscaled[1] - resize_y) // LATENT_FACTOR
    return HiresSize(
        width=width,
        height=height,
        upscaled_width=upscaled[0],
        upscaled_height=upscaled[1],
        crop_columns=crop_columns,
        crop_rows=crop_rows,
        resize_x=resize_x,
        resize_y=resize_y,
        infotext={"Hires resize": f"{resize_x}x{resize_y}"},
    )


def old_first_pass_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the old first pass: about 512² pixels, each side rounded up to a multiple of 64.

    Source: A1111 modules/processing.py, old_hires_fix_first_pass_dimensions.
    """
    scale = math.sqrt(OLD_FIRST_PASS_PIXELS / (width * height))
    return math.ceil(scale * width / 64) * 64, math.ceil(scale * height / 64) * 64


def crop_latents(latents: Tensor, size: HiresSize) -> Tensor:
    """`latents` (B, C, h, w) without the cells beyond the target: half at each side, the odd one at the far side."""
    left, top = size.crop_columns // 2, size.crop_rows // 2
    right = latents.shape[3] - (size.crop_columns + 1) // 2
    bottom = latents.shape[2] - (size.crop_rows + 1) // 2
    return latents[:, :, top:bottom, left:right]


def enlarge_picture(image: Image.Image, size: HiresSize, upscale: Upscale | None) -> Image.Image:
    """The first pass's picture at the second pass's size, by `upscale` and then Lanczos.

    Source: A1111 modules/processing.py, StableDiffusionProcessingTxt2Img.sample_hr_pass.
    """
    return resize_image(image, ResizeMode.STRETCH, size.upscaled_width, size.upscaled_height, upscale=upscale)
