"""The four resize modes of img2img, for pictures."""

from collections.abc import Callable
from enum import IntEnum

from PIL import Image

Upscale = Callable[[Image.Image, float], Image.Image]
"""Enlarges a picture by a factor; the result's size may miss `size * factor` by a few pixels."""


class ResizeMode(IntEnum):
    """What happens to a picture whose aspect differs from the target's; values and meaning as in A1111's API."""

    STRETCH = 0
    CROP = 1
    FILL = 2
    LATENT = 3
    """The picture keeps its size and its latents are resized; where a picture is resized all the same, as FILL."""


def resize_image(
    image: Image.Image, mode: int, width: int, height: int, *, upscale: Upscale | None = None
) -> Image.Image:
    """`image` at `width` x `height` pixels.

    Args:
        mode: A `ResizeMode`. STRETCH ignores the aspect and keeps the picture's mode; the others return RGB.
            CROP covers the target and cuts the centre; FILL (and LATENT) fits inside it and stretches the outermost
            rows or columns over the gaps.
        upscale: Enlarges RGB pictures before Lanczos brings them to the exact size; None is Lanczos alone.

    Source: A1111 modules/images.py, resize_image.
    """
    if mode == ResizeMode.STRETCH:
        return _scale_to(image, width, height, upscale)
    if mode == ResizeMode.CROP:
        return _crop_and_resize(image, width, height, upscale)
    return _resize_and_fill(image, width, height, upscale)


def scale_by(image: Image.Image, factor: float) -> tuple[int, int]:
    """(width, height) of "Resize by": sides times `factor`, rounded down.

    Source: A1111 modules/img2img.py, img2img.
    """
    return max(1, int(image.width * factor)), max(1, int(image.height * factor))


def _scale_to(image: Image.Image, width: int, height: int, upscale: Upscale | None) -> Image.Image:
    if upscale is None or image.mode == "L":
        return image.resize((width, height), Image.Resampling.LANCZOS)
    factor = max(width / image.width, height / image.height)
    if factor > 1:
        image = upscale(image, factor)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return image


def _crop_and_resize(image: Image.Image, width: int, height: int, upscale: Upscale | None) -> Image.Image:
    wider_target = width / height > image.width / image.height
    scaled_width = width if wider_target else image.width * height // image.height
    scaled_height = image.height * width // image.width if wider_target else height
    scaled = _scale_to(image, max(1, scaled_width), max(1, scaled_height), upscale)
    canvas = Image.new("RGB", (width, height))
    canvas.paste(scaled, (width // 2 - scaled.width // 2, height // 2 - scaled.height // 2))
    return canvas


def _resize_and_fill(image: Image.Image, width: int, height: int, upscale: Upscale | None) -> Image.Image:
    target_ratio, ratio = width / height, image.width / image.height
    scaled_width = width if target_ratio < ratio else image.width * height // image.height
    scaled_height = height if target_ratio >= ratio else image.height * width // image.width
    scaled = _scale_to(image, max(1, scaled_width), max(1, scaled_height), upscale)
    left, top = width // 2 - scaled.width // 2, height // 2 - scaled.height // 2
    canvas = Image.new("RGB", (width, height))
    canvas.paste(scaled, (left, top))
    # A box of no width (or height) at the edge makes Pillow repeat the outermost column (or row). An odd gap leaves
    # one line uncovered: both strips have the size of the gap before the picture.
    if target_ratio < ratio and top > 0:
        for edge, y in ((0, 0), (scaled.height, top + scaled.height)):
            canvas.paste(scaled.resize((width, top), box=(0, edge, width, edge)), (0, y))
    elif target_ratio > ratio and left > 0:
        for edge, x in ((0, 0), (scaled.width, left + scaled.width)):
            canvas.paste(scaled.resize((left, height), box=(edge, 0, edge, height)), (x, 0))
    return canvas
