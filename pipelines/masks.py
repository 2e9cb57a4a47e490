"""Masks of inpainting: reading, blurring, the region of "only masked", filling, overlays."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter, ImageOps

from pipelines.resize import ResizeMode, resize_image

Box = tuple[int, int, int, int]
"""left, top, right, bottom; right and bottom exclusive."""

Placement = tuple[int, int, int, int]
"""left, top, width, height."""

FILL_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""(radius, repeats) of the blurred copies that fill a masked area, painted in this order."""


def flatten(image: Image.Image, background: str) -> Image.Image:
    """`image` as RGB, its transparent parts over `background` (a colour as "#ffffff").

    Source: A1111 modules/images.py, flatten.
    """
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, background)
        canvas.paste(image, mask=image)
        image = canvas
    return image.convert("RGB")


def read_mask(image: Image.Image, *, binarize: bool) -> Image.Image:
    """`image` as a single channel mask (L), 255 = repaint.

    A picture with transparency is masked by its alpha, which `binarize` turns into 0 or 255; any other picture by its
    brightness, as it is.

    Source: A1111 modules/processing.py, create_binary_mask.
    """
    if image.mode != "RGBA":
        return image.convert("L")
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("L")
    return alpha.point(_above_half) if binarize else alpha


def blur_mask(mask: Image.Image, sigma_x: float, sigma_y: float) -> Image.Image:
    """`mask` (L) blurred along x, then along y; a sigma of 0 leaves its direction alone.

    The kernel reaches 2.5 sigma to both sides.

    Source: A1111 modules/processing.py, StableDiffusionProcessingImg2Img.init.
    """
    pixels = np.asarray(mask)
    for sigma, along_x in ((sigma_x, True), (sigma_y, False)):
        if sigma > 0:
            length = 2 * int(2.5 * sigma + 0.5) + 1
            pixels = _gaussian_blur(pixels, (length, 1) if along_x else (1, length), sigma)
    return Image.fromarray(pixels)


def masked_region(mask: Image.Image, padding: int = 0) -> Box | None:
    """The box of the non-zero pixels of `mask` (L), grown by `padding` and cut at the border; None for a black mask.

    Source: A1111 modules/masking.py, get_crop_region_v2.
    """
    box = mask.getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    return (
        max(left - padding, 0),
        max(top - padding, 0),
        min(right + padding, mask.width),
        min(bottom + padding, mask.height),
    )


def grow_to_aspect(region: Box, *, width: int, height: int, image_width: int, image_height: int) -> Box:
    """`region` grown along one axis to the aspect of `width` : `height`, as far as the picture allows.

    The missing length is cut to an integer, half of it (rounded down) goes before the region and the rest after; a
    region that sticks out is moved inside and cut only where it is longer than the picture.

    Source: A1111 modules/masking.py, expand_crop_region.
    """
    left, top, right, bottom = region
    if (right - left) / (bottom - top) > width / height:
        wanted = (right - left) / (width / height)
        top, bottom = _grow_span(top, bottom, wanted, image_height)
    else:
        left, right = _grow_span(left, right, (bottom - top) * (width / height), image_width)
    return left, top, right, bottom


def fill_masked(image: Image.Image, mask: Image.Image) -> Image.Image:
    """`image` (RGB) with the masked area replaced by blurred surroundings.

    Source: A1111 modules/masking.py, fill.
    """
    visible = keep_unmasked(image, mask)
    filled = Image.new("RGBA", image.size)
    for radius, repeats in FILL_BLURS:
        blurred = visible.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            filled.alpha_composite(blurred)
    return filled.convert("RGB")


def keep_unmasked(image: Image.Image, mask: Image.Image) -> Image.Image:
    """`image` with premultiplied transparency (RGBa), opaque where `mask` is 0 and gone where it is 255."""
    canvas = Image.new("RGBa", image.size)
    canvas.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    return canvas


def double(mask: Image.Image) -> Image.Image:
    """`mask` with every value doubled, at most 255: what the overlay of a whole picture uses."""
    return mask.point(_doubled)


def latent_mask(mask: Image.Image, rows: int, columns: int, *, binarize: bool) -> NDArray[np.float32]:
    """`mask` at latent size, (rows, columns) in 0..1, 1 = repaint; with `binarize` rounded, halves to even.

    Source: A1111 modules/processing.py, StableDiffusionProcessingImg2Img.init.
    """
    small = mask.convert("RGB").resize((columns, rows))
    values = np.divide(np.asarray(small)[..., 0], 255, dtype=np.float32)
    return np.rint(values, dtype=np.float32) if binarize else values


def uncrop(image: Image.Image, size: tuple[int, int], place: Placement) -> Image.Image:
    """A transparent picture of `size` with `image`, resized to cover `place`, pasted there.

    Source: A1111 modules/processing.py, uncrop.
    """
    left, top, width, height = place
    canvas = Image.new("RGBA", size)
    canvas.paste(resize_image(image, ResizeMode.CROP, width, height), (left, top))
    return canvas


def apply_overlay(image: Image.Image, overlay: Image.Image | None, place: Placement | None) -> Image.Image:
    """`image` (RGB), put back at `place` where only the masked area was painted, under the kept pixels of `overlay`.

    Source: A1111 modules/processing.py, apply_overlay.
    """
    if overlay is None:
        return image
    composed = place_result(image, overlay.size, place).convert("RGBA")
    composed.alpha_composite(overlay)
    return composed.convert("RGB")


def place_result(image: Image.Image, size: tuple[int, int], place: Placement | None) -> Image.Image:
    """`image` before the overlay: as it is, or at `place` on a transparent canvas of `size`."""
    return image if place is None else uncrop(image, size, place)


def mask_composite(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The repainted part alone (RGBA): `image` where `mask` is white, transparent elsewhere.

    Args:
        image: The result before the overlay (`place_result`).
        mask: The overlay mask.

    Source: A1111 modules/processing.py, process_images_inner (return_mask_composite).
    """
    stretched = resize_image(mask, ResizeMode.FILL, image.width, image.height).convert("L")
    painted = image.convert("RGBA").convert("RGBa")
    return Image.composite(painted, Image.new("RGBa", image.size), stretched).convert("RGBA")


def sketch_mask(sketch: Image.Image, original: Image.Image, *, transparency: float = 0) -> Image.Image:
    """The mask (L) of an inpaint sketch: every pixel that was drawn over; not blurred yet.

    Args:
        transparency: 0..100; darkens the mask by this share.

    Source: A1111 modules/img2img.py, img2img.
    """
    drawn = ImageChops.difference(sketch.convert("RGB"), original.convert("RGB"))
    level = np.uint8(255 * (1 - transparency / 100))
    return Image.fromarray(np.where(np.asarray(drawn).any(axis=-1), level, np.uint8(0)))


def sketch_picture(sketch: Image.Image, original: Image.Image, mask: Image.Image, *, blur: float) -> Image.Image:
    """The source picture (RGB) of an inpaint sketch: the drawing over the original through `mask`, all blurred.

    Args:
        mask: From `sketch_mask`.
        blur: Radius of the Gaussian blur of drawing and mask: the mask blur of the request.

    Source: A1111 modules/img2img.py, img2img.
    """
    soften = ImageFilter.GaussianBlur(blur)
    return Image.composite(sketch.convert("RGB").filter(soften), original.convert("RGB"), mask.filter(soften))


def _above_half(value: int) -> int:
    return 255 if value > 128 else 0


def _doubled(value: int) -> int:
    return min(255, 2 * value)


def _gaussian_blur(pixels: NDArray[np.uint8], kernel: tuple[int, int], sigma: float) -> NDArray[np.uint8]:
    """`cv2.GaussianBlur` with a type."""
    return np.asarray(cv2.GaussianBlur(pixels, kernel, sigma), dtype=np.uint8)


def _grow_span(start: int, end: int, wanted: float, limit: int) -> tuple[int, int]:
    missing = int(wanted - (end - start))
    start, end = start - missing // 2, end + missing - missing // 2
    if end >= limit:
        start, end = start - (end - limit), limit
    if start < 0:
        start, end = 0, end - start
    return start, min(end, limit)
