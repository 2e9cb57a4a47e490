"""Which picture a unit works on, and what of it is masked.

Source: sd-webui-controlnet scripts/controlnet.py, Script.choose_input_image and try_crop_image_with_a1111_mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipelines.control.plan import UnitPlan
from pipelines.inpaint import InpaintPlan
from pipelines.masks import Box, blur_mask, read_mask
from pipelines.resize import ResizeMode, resize_image
from preprocessors.base import as_rgb
from schema.controlnet import UnitResizeMode
from schema.errors import InvalidRequest

Pixels = NDArray[np.uint8]

_EMPTY, _FULL = 5, 250
_SOURCE_MODES = {
    ResizeMode.STRETCH: UnitResizeMode.RESIZE,
    ResizeMode.CROP: UnitResizeMode.INNER_FIT,
    ResizeMode.FILL: UnitResizeMode.OUTER_FIT,
    ResizeMode.LATENT: UnitResizeMode.RESIZE,
}
_PICTURE_MODES = {
    UnitResizeMode.RESIZE: ResizeMode.STRETCH,
    UnitResizeMode.INNER_FIT: ResizeMode.CROP,
    UnitResizeMode.OUTER_FIT: ResizeMode.FILL,
}


@dataclass(frozen=True, kw_only=True)
class ControlSource:
    """What img2img gives to units.

    Attributes:
        image: The first source picture.
        resize_mode: How the source is brought to the picture's size.
        inpaint: Its mask, or None.
        region: The area worked on in "only masked", or None.
        width, height: Of the job, in pixels.
    """

    image: Image.Image
    resize_mode: ResizeMode
    width: int
    height: int
    inpaint: InpaintPlan | None = None
    region: Box | None = None


@dataclass(frozen=True, kw_only=True)
class ControlInput:
    """A unit's picture before preprocessing.

    Attributes:
        image: (H, W, 3).
        mask: (H, W), 255 = masked; None for units that do not use one.
        resize_mode: The unit's own, or the source's where the source is used.
    """

    image: Pixels
    resize_mode: UnitResizeMode
    mask: Pixels | None = None


def uses_mask(unit: UnitPlan) -> bool:
    """Whether the unit takes picture and mask both, so that a mask is not a drawing."""
    entry = unit.preprocessor
    return "Inpaint" in entry.types or not entry.returns_image


def choose_input(unit: UnitPlan, source: ControlSource | None, *, ignore_masks: bool = False) -> ControlInput:
    """The unit's own picture, or img2img's where it has none; cut like the source in "only masked" inpainting.

    A mask painted on the picture of a unit that repaints nothing is the control picture itself ("scribble on
    canvas"), unless it is empty, full or `ignore_masks`.

    Raises:
        InvalidRequest: If there is no picture at all.
    """
    if unit.image is not None:
        chosen = _own(unit, unit.image, ignore_masks=ignore_masks)
    elif source is not None:
        chosen = _from_source(unit, source)
    else:
        raise InvalidRequest(f"ControlNet unit {unit.number} has no image. Give it one, or switch it off.")
    crops = source is not None and source.region is not None and unit.crops
    if source is not None and crops and "Reference" not in unit.preprocessor.types:
        return _cut(chosen, source)
    return chosen


def rgb_pixels(image: Image.Image) -> Pixels:
    """(H, W, 3) of any picture, transparency laid on white."""
    mode = image.mode
    if mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGBA" if mode in ("LA", "PA") or "transparency" in image.info else "RGB")
    return as_rgb(np.asarray(image))


def _own(unit: UnitPlan, image: Image.Image, *, ignore_masks: bool) -> ControlInput:
    pixels = rgb_pixels(image)
    mask = _first_channel(unit.mask)
    if uses_mask(unit):
        mask = np.zeros(pixels.shape[:2], np.uint8) if mask is None else mask
        return ControlInput(image=pixels, mask=mask, resize_mode=unit.resize_mode)
    is_drawing = mask is not None and not (mask <= _EMPTY).all() and not (mask >= _FULL).all()
    if mask is not None and is_drawing and not ignore_masks:
        pixels = as_rgb(mask)
    return ControlInput(image=pixels, resize_mode=unit.resize_mode)


def _first_channel(mask: Image.Image | None) -> Pixels | None:
    if mask is None:
        return None
    return np.asarray(mask.convert("RGB") if mask.mode in ("P", "1") else mask, np.uint8).reshape(
        mask.height, mask.width, -1
    )[:, :, 0]


def _from_source(unit: UnitPlan, source: ControlSource) -> ControlInput:
    pixels = rgb_pixels(source.image)
    mask = None
    if uses_mask(unit):
        mask = np.zeros(pixels.shape[:2], np.uint8)
        if source.inpaint is not None:
            repainted = _blurred_mask(source.inpaint)
            size = (pixels.shape[1], pixels.shape[0])
            mask = np.asarray(repainted if repainted.size == size else repainted.resize(size), np.uint8)
    return ControlInput(image=pixels, mask=mask, resize_mode=_SOURCE_MODES[ResizeMode(source.resize_mode)])


def _blurred_mask(inpaint: InpaintPlan) -> Image.Image:
    """The job's mask as img2img uses it. Source: sd-webui-controlnet scripts/controlnet.py, prepare_mask."""
    mask = read_mask(inpaint.mask, binarize=inpaint.binarize)
    mask = ImageOps.invert(mask) if inpaint.invert else mask
    return blur_mask(mask, inpaint.blur_x, inpaint.blur_y)


def _cut(chosen: ControlInput, source: ControlSource) -> ControlInput:
    """The part of the picture that img2img works on, at the job's size."""
    assert source.inpaint is not None and source.region is not None
    width, height = source.inpaint.mask.size
    mode, region = _PICTURE_MODES[chosen.resize_mode], source.region

    def cut(pixels: Pixels) -> Pixels:
        whole = resize_image(Image.fromarray(pixels), mode, width, height)
        part = resize_image(whole.crop(region), ResizeMode.FILL, source.width, source.height)
        return np.asarray(part, np.uint8)

    mask = None if chosen.mask is None else cut(as_rgb(chosen.mask))[:, :, 0]
    return ControlInput(image=cut(chosen.image), mask=mask, resize_mode=chosen.resize_mode)
