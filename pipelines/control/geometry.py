"""Sizes of control maps: at what resolution they are made, and how they are brought to the picture's size.

Source: sd-webui-controlnet scripts/controlnet.py, detectmap_proc; internal_controlnet/external_code.py,
pixel_perfect_resolution.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.control.thinning import binarized, ridges, thinned
from schema.controlnet import UnitResizeMode

Pixels = NDArray[np.uint8]

LATENT_FACTOR = 8
FEW_COLORS = 200
"""Maps with fewer colours than this, and more than two, are labels: their colours must not be mixed."""


def target_size(width: int, height: int) -> tuple[int, int]:
    """`(width, height)` as the latents have it: rounded down to multiples of 8."""
    return width // LATENT_FACTOR * LATENT_FACTOR, height // LATENT_FACTOR * LATENT_FACTOR


def pixel_perfect_resolution(image_width: int, image_height: int, width: int, height: int, mode: UnitResizeMode) -> int:
    """The short side at which a map needs no scaling on its way to `width` x `height`."""
    factors = height / image_height, width / image_width
    factor = min(factors) if mode is UnitResizeMode.OUTER_FIT else max(factors)
    return int(np.round(factor * min(image_width, image_height)))


def fit_map(pixels: Pixels, width: int, height: int, mode: UnitResizeMode) -> Pixels:
    """A control map at `width` x `height`.

    Args:
        pixels: (H, W, 3), or (H, W, 4) with a mask, 255 = repaint, as the fourth channel.
        mode: RESIZE stretches. INNER_FIT covers and cuts the centre. OUTER_FIT fits inside and fills up with the
            median colour of the border, masked where there is a mask.

    Returns:
        (height, width, 3 or 4); a mask is 0 or 255.
    """
    if mode is UnitResizeMode.RESIZE:
        return resized_map(pixels, width, height)
    old_height, old_width = pixels.shape[:2]
    factors = height / old_height, width / old_width
    factor = min(factors) if mode is UnitResizeMode.OUTER_FIT else max(factors)
    scaled = resized_map(pixels, int(np.round(old_width * factor)), int(np.round(old_height * factor)))
    if mode is UnitResizeMode.INNER_FIT:
        top, left = (max(0, (scaled.shape[axis] - side) // 2) for axis, side in enumerate((height, width)))
        return np.ascontiguousarray(scaled[top : top + height, left : left + width])
    canvas = np.tile(_border_color(pixels), (height, width, 1))
    top, left = (max(0, (side - scaled.shape[axis]) // 2) for axis, side in enumerate((height, width)))
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled[: height - top, : width - left]
    return canvas


def _border_color(pixels: Pixels) -> Pixels:
    """(1, 1, C): per channel the median of the four border lines; a mask counts as set."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    color = np.median(border, axis=0).astype(np.uint8)
    if len(color) == 4:
        color[3] = 255
    return color[None, None]


def resized_map(pixels: Pixels, width: int, height: int) -> Pixels:
    """(height, width, C) of a map: labels stay pure, black-and-white maps black and white, thin lines thin."""
    mask = pixels[:, :, 3] if pixels.shape[2] == 4 else None
    colors = pixels[:, :, :3]
    if pixels.shape[:2] != (height, width):
        count = _color_count(colors)
        is_binary = count == 2 and int(colors.min()) < 16 and int(colors.max()) > 240
        is_line_art = is_binary and _has_thin_lines(colors)
        old, new = pixels.shape[0] * pixels.shape[1], height * width
        if 2 < count < FEW_COLORS:
            interpolation = cv2.INTER_NEAREST
        else:
            interpolation = cv2.INTER_AREA if new < old else cv2.INTER_CUBIC
        colors = _resized(colors, width, height, interpolation)
        mask = None if mask is None else _resized(mask, width, height, interpolation)
        if is_binary:
            gray = colors.astype(np.float32).mean(axis=2).clip(0, 255).astype(np.uint8)
            lines = thinned(binarized(ridges(gray)), prune=new > old) if is_line_art else binarized(gray)
            colors = np.repeat(lines[:, :, None], 3, axis=2)
    if mask is None:
        return np.ascontiguousarray(colors)
    return np.concatenate([colors, np.where(mask > 127, np.uint8(255), np.uint8(0))[:, :, None]], axis=2)


def _resized(pixels: Pixels, width: int, height: int, interpolation: int) -> Pixels:
    made = cv2.resize(np.ascontiguousarray(pixels), (max(1, width), max(1, height)), interpolation=interpolation)
    return np.asarray(made, np.uint8)


def _color_count(colors: Pixels) -> int:
    packed = colors.astype(np.uint32)
    return len(np.unique(packed[:, :, 0] << 16 | packed[:, :, 1] << 8 | packed[:, :, 2]))


def _has_thin_lines(colors: Pixels) -> bool:
    """Whether opening with a 3 x 3 square takes away more than half of the bright values."""
    square = np.ones((3, 3), np.uint8)
    opened = cv2.dilate(cv2.erode(colors, square), square)
    return int((opened < colors).sum()) * 2 > int((colors > 127).sum())
