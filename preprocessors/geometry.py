"""The size at which a picture is preprocessed, and the way back to its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from schema.errors import InvalidRequest

MULTIPLE = 64
LONGEST = 16384
"""Most pixels that a side of a map may have."""


@dataclass(frozen=True, kw_only=True)
class Padded:
    """A picture at the wanted resolution, padded for networks that ask for multiples of 64.

    Attributes:
        pixels: (H', W', C) uint8, contiguous; the padding at the bottom and right repeats the border.
        height: Of the part that is not padding; likewise `width`.
    """

    pixels: npt.NDArray[np.uint8]
    height: int
    width: int

    def cut(self, made: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """`made`, (H', W') or (H', W', C), without what belongs to the padding."""
        return np.ascontiguousarray(made[: self.height, : self.width])


def padded(image: npt.NDArray[np.uint8], resolution: int) -> Padded:
    """`image` with its short side at `resolution`, padded to multiples of 64.

    Source: sd-webui-controlnet scripts/utils.py, resize_image_with_pad.
    """
    pixels = at_resolution(image, resolution)
    height, width = pixels.shape[:2]
    border = [(0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)]
    return Padded(pixels=np.ascontiguousarray(np.pad(pixels, border, mode="edge")), height=height, width=width)


def at_resolution(image: npt.NDArray[np.uint8], resolution: int) -> npt.NDArray[np.uint8]:
    """`image`, (H, W, C), scaled so that its short side has `resolution` pixels.

    Raises:
        InvalidRequest: If it is so narrow that its long side would have more than 16384.
    """
    enlarged = resolution > min(image.shape[:2])
    return scaled(image, size_at(image, resolution), cv2.INTER_CUBIC if enlarged else cv2.INTER_AREA)


def size_at(image: npt.NDArray[np.uint8], resolution: int) -> tuple[int, int]:
    """Width and height of `image` with its short side at `resolution`; raises as `at_resolution`."""
    height, width = image.shape[:2]
    factor = resolution / min(height, width)
    size = (int(np.round(width * factor)), int(np.round(height * factor)))
    if max(size) > LONGEST:
        raise InvalidRequest(
            f"A picture of {width}x{height} pixels would become {size[0]}x{size[1]} at resolution {resolution}. "
            f"Crop it or lower the resolution; a side may have {LONGEST} pixels."
        )
    return size


def scaled(
    image: npt.NDArray[np.uint8], size: tuple[int, int], interpolation: int = cv2.INTER_LINEAR
) -> npt.NDArray[np.uint8]:
    """`image`, (H, W) or (H, W, C), at `size`, which is width and height, at least 1 each."""
    made = cv2.resize(image, (max(1, size[0]), max(1, size[1])), interpolation=interpolation)
    return cast("npt.NDArray[np.uint8]", made)


def detected(
    image: npt.NDArray[np.uint8],
    resolution: int,
    detect: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]],
) -> npt.NDArray[np.uint8]:
    """The map that `detect` makes of `image` at `resolution`; `detect` sees and answers the padded size."""
    picture = padded(image, resolution)
    made = detect(picture.pixels)
    assert made.shape[:2] == picture.pixels.shape[:2], f"map {made.shape} of a picture {picture.pixels.shape}"
    return picture.cut(made)
