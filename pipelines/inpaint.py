"""Preparation of img2img and inpainting: pictures to encode, masks, overlays, and what is done after sampling."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from pipelines.color import Lab, color_target, correct_colors
from pipelines.masks import (
    Box,
    Placement,
    apply_overlay,
    blur_mask,
    double,
    fill_masked,
    flatten,
    grow_to_aspect,
    keep_unmasked,
    latent_mask,
    masked_region,
    read_mask,
)
from pipelines.resize import ResizeMode, Upscale, resize_image
from schema.errors import InvalidRequest

LATENT_FACTOR = 8
"""Pixels per latent cell."""

BLANK_MASK_NOTE = 'The mask is blank, so "Only masked" has no area: the whole picture was repainted (img2img).'


class MaskedContent(IntEnum):
    """What stands in the masked area before sampling; values as `inpainting_fill` of A1111's API."""

    FILL = 0
    ORIGINAL = 1
    LATENT_NOISE = 2
    LATENT_NOTHING = 3


@dataclass(frozen=True, kw_only=True)
class InpaintPlan:
    """How a mask is used.

    Attributes:
        mask: As given: RGBA with transparency or a grey picture, white = repaint.
        latent_mask: Replaces the mask for the latents and the fill, or None.
        invert: Repaint where the mask is black.
        only_masked: Work on the masked area enlarged to the target size instead of the whole picture.
        padding: Pixels around that area.
        binarize: Round the mask at latent size (`mask_round`); soft inpainting switches it off.
    """

    mask: Image.Image
    latent_mask: Image.Image | None = None
    invert: bool = False
    blur_x: int = 4
    blur_y: int = 4
    content: MaskedContent = MaskedContent.ORIGINAL
    only_masked: bool = False
    padding: int = 32
    binarize: bool = True


@dataclass(frozen=True, kw_only=True)
class Img2ImgPlan:
    """The picture side of an img2img job.

    Attributes:
        resize_mode: A `ResizeMode`.
        background: Colour under transparent parts ("#ffffff").
        color_correction: Whether results get the colours of the prepared source pictures.
        upscale: Used where a source is enlarged; None is Lanczos.
        hash_images: Whether `Init image hash` is written.
    """

    width: int
    height: int
    batch_size: int = 1
    resize_mode: ResizeMode = ResizeMode.STRETCH
    denoising_strength: float = 0.75
    background: str = "#ffffff"
    color_correction: bool = False
    upscale: Upscale | None = None
    hash_images: bool = False
    inpaint: InpaintPlan | None = None


@dataclass(frozen=True, kw_only=True)
class PreparedMask:
    """The masks of one job, before they meet latents.

    Attributes:
        conditioning: Mask at target size (L or RGB), what inpainting checkpoints see.
        latent: Mask that is brought to latent size; `conditioning` unless the request has its own.
        overlay: Mask of the picture the result is put into.
        region: The area worked on, or None for the whole picture.
    """

    conditioning: Image.Image
    latent: Image.Image
    overlay: Image.Image
    region: Box | None = None
    binarize: bool = True
    content: MaskedContent = MaskedContent.ORIGINAL


@dataclass(frozen=True, kw_only=True)
class PreparedImg2Img:
    """What the img2img stage needs of the pictures.

    Attributes:
        pictures: RGB, one per batch entry, to be encoded; of one size.
        latent_size: (rows, columns) the encoded latents are resized to (bilinear), or None to keep theirs.
        mask: None without a mask, or with a blank one in "only masked".
        overlays: RGBA, one per batch entry: the kept pixels; empty without a mask.
        flattened: The sources, flattened and (unless "only masked" or LATENT) resized, one per batch entry.
        place: Where the result goes in the overlay, or None.
        color_targets: One per batch entry, or empty without colour correction.
        infotext: Fields in A1111's order of insertion; a None value is not written into the line.
        notes: What the user should know.
    """

    pictures: tuple[Image.Image, ...]
    batch_size: int
    latent_size: tuple[int, int] | None = None
    mask: PreparedMask | None = None
    overlays: tuple[Image.Image, ...] = ()
    flattened: tuple[Image.Image, ...] = ()
    place: Placement | None = None
    color_targets: tuple[Lab, ...] = ()
    infotext: dict[str, float | str | None] = field(default_factory=dict[str, float | str | None])
    notes: tuple[str, ...] = ()

    def latent_mask(self, rows: int, columns: int) -> NDArray[np.float32] | None:
        """The mask at latent size, (rows, columns) in 0..1 with 1 = repaint, or None without a mask."""
        if self.mask is None:
            return None
        return latent_mask(self.mask.latent, rows, columns, binarize=self.mask.binarize)


def prepare_img2img(plan: Img2ImgPlan, images: Sequence[Image.Image]) -> PreparedImg2Img:
    """Pictures, masks and overlays of an img2img or inpainting job.

    Args:
        images: The source pictures: one, or at most `plan.batch_size`; one is repeated for the whole batch, several
            reduce the batch to their number.

    Raises:
        InvalidRequest: If there is no picture, more than the batch holds, or sizes that differ where they stay.

    Source: A1111 modules/processing.py, StableDiffusionProcessingImg2Img.init.
    """
    if not images:
        raise InvalidRequest("img2img needs a picture: give one in init_images.")
    if len(images) > max(plan.batch_size, 1):
        raise InvalidRequest(
            f"{len(images)} source pictures do not fit a batch size of {plan.batch_size}: "
            "raise the batch size or send fewer pictures."
        )
    infotext: dict[str, float | str | None] = {"Denoising strength": plan.denoising_strength}
    mask, notes = None, ()
    if plan.inpaint is not None:
        mask = _prepare_mask(plan, plan.inpaint, infotext)
        notes = () if mask is not None else (BLANK_MASK_NOTE,)
    pictures: list[Image.Image] = []
    flattened: list[Image.Image] = []
    overlays: list[Image.Image] = []
    for source in images:
        if plan.hash_images:
            infotext["Init image hash"] = image_hash(source)
        image = _flatten_and_resize(plan, source, mask)
        flattened.append(image)
        if mask is not None:
            mask = _fit_overlay_mask(plan, mask, image)
            overlays.append(keep_unmasked(image, mask.overlay).convert("RGBA"))
            image = _masked_picture(plan, mask, image, infotext)
        pictures.append(image)
    _check_sizes(pictures)
    _note_latent_content(mask, infotext)
    repeat = plan.batch_size if len(images) == 1 else 1
    return PreparedImg2Img(
        pictures=tuple(pictures) * repeat,
        batch_size=len(pictures) * repeat,
        latent_size=(plan.height // LATENT_FACTOR, plan.width // LATENT_FACTOR)
        if plan.resize_mode == ResizeMode.LATENT
        else None,
        mask=mask,
        overlays=tuple(overlays) * repeat,
        flattened=tuple(flattened) * repeat,
        place=_placement(mask),
        color_targets=tuple(color_target(image) for image in pictures) * repeat if plan.color_correction else (),
        infotext=infotext,
        notes=notes,
    )


def image_hash(image: Image.Image) -> str:
    """MD5 of the pixels, as `Init image hash` and the name of a saved source picture."""
    return hashlib.md5(image.tobytes(), usedforsecurity=False).hexdigest()


def masked_start(latents: Tensor, nmask: Tensor, content: int, noise: Tensor | None) -> Tensor:
    """Start latents (B, C, h, w) with the masked part replaced as `content` says.

    Args:
        nmask: 1 = repaint; broadcasts against `latents`.
        content: A `MaskedContent`.
        noise: First draw of each image's generator, for LATENT_NOISE.

    Source: A1111 modules/processing.py, StableDiffusionProcessingImg2Img.init.
    """
    if content == MaskedContent.LATENT_NOISE:
        assert noise is not None, "latent noise needs the noise of the seeds"
        return latents * (1 - nmask) + noise * nmask
    if content == MaskedContent.LATENT_NOTHING:
        return latents * (1 - nmask)
    return latents


def conditioning_mask(mask: Image.Image | None, *, height: int, width: int, binarize: bool) -> Tensor:
    """The mask inpainting checkpoints see, (1, 1, height, width) in 0..1; all ones without a mask.

    Source: A1111 modules/processing.py, StableDiffusionProcessing.inpainting_image_conditioning.
    """
    if mask is None:
        return torch.ones(1, 1, height, width)
    values = torch.from_numpy(np.array(mask.convert("L"), dtype=np.float32) / 255)[None, None]
    if values.shape[-2:] != (height, width):
        values = F.interpolate(values, size=(height, width))
    return values.round() if binarize else values


def hide_masked(pictures: Tensor, mask: Tensor, weight: float) -> Tensor:
    """`pictures` (B, 3, H, W) in [-1, 1] with the masked part turned to grey, to be encoded for the checkpoint.

    Args:
        mask: From `conditioning_mask`.
        weight: `inpainting_mask_weight`, 0 (nothing hidden) to 1.
    """
    return torch.lerp(pictures, pictures * (1 - mask.to(pictures)), weight)


def stack_conditioning(mask: Tensor, masked_latents: Tensor) -> Tensor:
    """Mask and encoded masked pictures as the extra channels of an inpainting checkpoint, (B, 1 + C, h, w)."""
    small = F.interpolate(mask.to(masked_latents), size=masked_latents.shape[-2:])
    return torch.cat([small.expand(masked_latents.shape[0], -1, -1, -1), masked_latents], dim=1)


def finish_picture(
    image: Image.Image, *, target: Lab | None, overlay: Image.Image | None, place: Placement | None
) -> Image.Image:
    """A decoded picture (RGB) with colours corrected and put back into its source.

    Source: A1111 modules/processing.py, process_images_inner.
    """
    if target is not None:
        image = correct_colors(image, target)
    return apply_overlay(image, overlay, place)


def _prepare_mask(
    plan: Img2ImgPlan, inpaint: InpaintPlan, infotext: dict[str, float | str | None]
) -> PreparedMask | None:
    mask = read_mask(inpaint.mask, binarize=inpaint.binarize)
    if inpaint.invert:
        mask = ImageOps.invert(mask)
        infotext["Mask mode"] = "Inpaint not masked"
    mask = blur_mask(mask, inpaint.blur_x, inpaint.blur_y)
    if inpaint.blur_x > 0 or inpaint.blur_y > 0:
        infotext["Mask blur"] = inpaint.blur_x if inpaint.blur_x == inpaint.blur_y else None
    region = None
    if inpaint.only_masked:
        region = masked_region(mask, inpaint.padding)
        if region is None:
            return None
        region = grow_to_aspect(
            region, width=plan.width, height=plan.height, image_width=mask.width, image_height=mask.height
        )
        work = resize_image(mask.crop(region), ResizeMode.FILL, plan.width, plan.height)
        overlay = mask
        infotext["Inpaint area"] = "Only masked"
        infotext["Masked area padding"] = inpaint.padding
    else:
        work = resize_image(mask, plan.resize_mode, plan.width, plan.height)
        overlay = double(work)
    latent = work
    if inpaint.latent_mask is not None:
        latent = inpaint.latent_mask.convert("L").resize((plan.width, plan.height), Image.Resampling.LANCZOS)
    return PreparedMask(
        conditioning=work,
        latent=latent,
        overlay=overlay,
        region=region,
        binarize=inpaint.binarize,
        content=inpaint.content,
    )


def _flatten_and_resize(plan: Img2ImgPlan, source: Image.Image, mask: PreparedMask | None) -> Image.Image:
    image = flatten(source, plan.background)
    if (mask is not None and mask.region is not None) or plan.resize_mode == ResizeMode.LATENT:
        return image
    return resize_image(image, plan.resize_mode, plan.width, plan.height, upscale=plan.upscale)


def _fit_overlay_mask(plan: Img2ImgPlan, mask: PreparedMask, image: Image.Image) -> PreparedMask:
    if mask.overlay.size == image.size:
        return mask
    return replace(mask, overlay=resize_image(mask.overlay, plan.resize_mode, image.width, image.height))


def _masked_picture(
    plan: Img2ImgPlan, mask: PreparedMask, image: Image.Image, infotext: dict[str, float | str | None]
) -> Image.Image:
    if mask.region is not None:
        image = resize_image(image.crop(mask.region), ResizeMode.FILL, plan.width, plan.height, upscale=plan.upscale)
    if mask.content != MaskedContent.ORIGINAL:
        latent = mask.latent if mask.latent.size == image.size else mask.latent.resize(image.size)
        image = fill_masked(image, latent)
        if mask.content == MaskedContent.FILL:
            infotext["Masked content"] = "fill"
    return image


def _check_sizes(pictures: Sequence[Image.Image]) -> None:
    sizes = {image.size for image in pictures}
    if len(sizes) > 1:
        named = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise InvalidRequest(f"Source pictures of different sizes ({named}) need a resize mode other than latent.")


def _note_latent_content(mask: PreparedMask | None, infotext: dict[str, float | str | None]) -> None:
    if mask is not None and mask.content == MaskedContent.LATENT_NOISE:
        infotext["Masked content"] = "latent noise"
    elif mask is not None and mask.content == MaskedContent.LATENT_NOTHING:
        infotext["Masked content"] = "latent nothing"


def _placement(mask: PreparedMask | None) -> Placement | None:
    if mask is None or mask.region is None:
        return None
    left, top, right, bottom = mask.region
    return left, top, right - left, bottom - top
