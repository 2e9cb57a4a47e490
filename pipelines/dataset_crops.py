"""Pictures made ready to train on: split, cropped around what matters, cropped to a fitting size, flipped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

SIDE_STEP = 64
"""Sides of an auto-sized crop are taken in these steps."""

MOST_CORNERS, CORNER_QUALITY, CORNER_DISTANCE = 100, 0.04, 0.06
"""Of the corners looked for; the distance is a share of the shorter side. Source: A1111 autocrop.py."""

ENTROPY_STEP = 4
"""Pixels between two places at which entropy is measured. Source: the same."""

FLIP_WAYS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "Horizontal": ImageOps.mirror,
    "Vertical": ImageOps.flip,
    "Both": lambda image: ImageOps.flip(ImageOps.mirror(image)),
}

FindFaces = Callable[[Image.Image], Sequence[tuple[float, float]]]
"""Middles of the faces in a picture, in pixels."""


def no_faces(image: Image.Image) -> Sequence[tuple[float, float]]:
    """No faces: there is nothing to find them with."""
    return ()


@dataclass(frozen=True, kw_only=True)
class FocalWeights:
    """How much faces, places of high entropy and corners count when a picture's focal point is looked for."""

    faces: float = 0.9
    entropy: float = 0.15
    corners: float = 0.5


@dataclass(frozen=True, kw_only=True)
class CropBounds:
    """What an auto-sized crop may be: lengths and areas in pixels, and how far its aspect may be off (0 to 1)."""

    least_side: int = 384
    largest_side: int = 768
    least_area: int = 4096
    largest_area: int = 409600
    largest_error: float = 0.1
    maximizes_area: bool = True


def split_picture(image: Image.Image, size: tuple[int, int], *, threshold: float, overlap: float) -> list[Image.Image]:
    """`image` as pieces of `size` along its longer side, or alone where its aspect is near enough.

    Args:
        threshold: Split below this quotient of the two aspects.
        overlap: Share of a piece that the next one shows too, 0 to 0.9.

    Source: A1111 scripts/postprocessing_split_oversized.py.
    """
    if image.height > image.width:
        ratio = (image.width * size[1]) / (image.height * size[0])
    else:
        ratio = (image.height * size[0]) / (image.width * size[1])
    if ratio >= 1 or ratio > threshold:
        return [image]
    if image.height > image.width:
        return list(_rows(image, size, overlap))
    turned = _rows(image.transpose(Image.Transpose.TRANSPOSE), (size[1], size[0]), overlap)
    return [piece.transpose(Image.Transpose.TRANSPOSE) for piece in turned]


def _rows(image: Image.Image, size: tuple[int, int], overlap: float) -> Iterator[Image.Image]:
    """Pieces from top to bottom, after the picture's width was brought to that of a piece."""
    width, height = size
    tall = image.resize((width, max(height, image.height * width // image.width)))
    count = max(2, math.ceil((tall.height - height * overlap) / (height * (1 - overlap))))
    step = (tall.height - height) / (count - 1)
    for index in range(count):
        top = int(step * index)
        yield tall.crop((0, top, width, top + height))


def auto_sized(image: Image.Image, bounds: CropBounds) -> Image.Image | None:
    """The middle of `image` at the size within `bounds` that fits it best; None where none does.

    Source: A1111 scripts/postprocessing_autosized_crop.py.
    """
    sides = range(bounds.least_side, bounds.largest_side + 1, SIDE_STEP)
    aspect = image.width / image.height

    def error(size: tuple[int, int]) -> float:
        quotient = aspect / (size[0] / size[1])
        return 1 - min(quotient, 1 / quotient)

    def worth(size: tuple[int, int]) -> tuple[float, float]:
        both = (size[0] * size[1], -error(size))
        return both if bounds.maximizes_area else (both[1], both[0])

    fitting = [
        (width, height)
        for width in sides
        for height in sides
        if bounds.least_area <= width * height <= bounds.largest_area and error((width, height)) <= bounds.largest_error
    ]
    if not fitting:
        return None
    return ImageOps.fit(image, max(fitting, key=worth), Image.Resampling.LANCZOS)


def flipped(image: Image.Image, ways: Sequence[str]) -> list[Image.Image]:
    """Copies of `image` flipped in each of `ways`, in the order of the list of ways."""
    return [flip(image) for name, flip in FLIP_WAYS.items() if name in ways]


def focal_crop(
    image: Image.Image, size: tuple[int, int], weights: FocalWeights, find_faces: FindFaces = no_faces
) -> tuple[Image.Image, Image.Image]:
    """`image` shrunk to cover `size` and cropped around its focal point, and a picture of what was found.

    Source: A1111 modules/textual_inversion/autocrop.py, crop_image.
    """
    scale = max(size[0] / image.width, size[1] / image.height)
    covering = max(size[0], round(image.width * scale)), max(size[1], round(image.height * scale))
    image = image.resize(covering, Image.Resampling.LANCZOS)
    found = {
        "faces": (weights.faces, list(find_faces(image))),
        "entropy": (weights.entropy, [entropy_point(image, size)]),
        "corners": (weights.corners, corner_points(image)),
    }
    present = [(weight, _middle(points)) for weight, points in found.values() if weight > 0 and points]
    total = sum(weight for weight, _ in present)
    focus = (
        (sum(w * x for w, (x, _) in present) / total, sum(w * y for w, (_, y) in present) / total)
        if total
        else (image.width / 2, image.height / 2)
    )
    left = round(min(max(focus[0] - size[0] / 2, 0), image.width - size[0]))
    top = round(min(max(focus[1] - size[1] / 2, 0), image.height - size[1]))
    box = (left, top, left + size[0], top + size[1])
    return image.crop(box), _explained(image, box, focus, {name: points for name, (_, points) in found.items()})


def corner_points(image: Image.Image) -> list[tuple[float, float]]:
    """Corners and other well-marked places of `image`, in pixels."""
    grey = np.asarray(image.convert("L"))
    distance = min(image.size) * CORNER_DISTANCE
    # OpenCV answers None where there is no corner, which its annotations do not say.
    found = cast(Any, cv2.goodFeaturesToTrack(grey, MOST_CORNERS, CORNER_QUALITY, distance, useHarrisDetector=False))
    points: NDArray[np.float32] = np.empty((0, 2), np.float32) if found is None else found.reshape(-1, 2)
    return [(float(x), float(y)) for x, y in points]


def entropy_point(image: Image.Image, size: tuple[int, int]) -> tuple[float, float]:
    """The middle of the crop of `size` whose edges, along the longer side of `image`, tell most."""
    grey = np.asarray(image.convert("L"))
    edges = np.asarray(cv2.Canny(grey, 100, 200)) > 0
    along = 1 if image.width > image.height else 0
    room = edges.shape[along] - (size[0] if along else size[1])
    best, place = -1.0, 0
    for start in range(0, max(1, room + 1), ENTROPY_STEP):
        part = edges[:, start : start + size[0]] if along else edges[start : start + size[1]]
        value = _entropy(float(part.mean()))
        if value > best:
            best, place = value, start
    if along:
        return place + size[0] / 2, image.height / 2
    return image.width / 2, place + size[1] / 2


def _entropy(share: float) -> float:
    """Of a two-valued picture, in bits: −Σ p log2 p."""
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)


def _middle(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _explained(
    image: Image.Image,
    box: tuple[int, int, int, int],
    focus: tuple[float, float],
    found: dict[str, list[tuple[float, float]]],
) -> Image.Image:
    """`image` with the crop, the focal point and everything that led to it drawn in."""
    shown = image.convert("RGB")
    draw = ImageDraw.Draw(shown)
    for (name, points), colour in zip(found.items(), ("#ff4040", "#ffd700", "#40ff40"), strict=True):
        radius = 12 if name == "faces" else 5
        for x, y in points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=2)
    draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline="#ffffff", width=2)
    draw.ellipse((focus[0] - 8, focus[1] - 8, focus[0] + 8, focus[1] + 8), fill="#4040ff")
    return shown
