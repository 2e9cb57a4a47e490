"""Pictures of the recorded cases, and how they are compared."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image


def decoded(png: str) -> Image.Image:
    """The picture in a recorded base64 PNG."""
    return Image.open(io.BytesIO(base64.b64decode(png)))


def synthetic(width: int, height: int, seed: int = 0) -> Image.Image:
    """The test picture of the recordings: red along x, green along y, blue a pattern that depends on `seed`."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1)
    blue = (7 * x + 13 * y + 31 * seed + 5 * ((x * y) % 17)) % 256
    return Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))


def rectangles(size: Sequence[int], boxes: Sequence[Sequence[int]], value: int) -> Image.Image:
    """A black mask of `size` with boxes (right and bottom inclusive) of `value`."""
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    for left, top, right, bottom in boxes:
        mask[top : bottom + 1, left : right + 1] = value
    return Image.fromarray(mask)


def difference(image: Image.Image, expected: Image.Image) -> int:
    """The largest difference of a channel; sizes and modes must agree."""
    assert (image.size, image.mode) == (expected.size, expected.mode)
    return int(np.abs(np.asarray(image, dtype=int) - np.asarray(expected, dtype=int)).max())
