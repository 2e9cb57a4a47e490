"""Draws shapes on a picture, a depth map and a subject mask at once, in one of the four styles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tools.scene_model.spec import Color

cv2.setNumThreads(1)

PAPER: Color = (250, 249, 244)
INK: Color = (30, 28, 34)
_SHADE_SIZE = 64


def mix(a: Color, b: Color, share: float) -> Color:
    """Returns colour `a` with `share` (0 to 1) of colour `b` in it."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def darken(color: Color, factor: float) -> Color:
    """Returns the colour multiplied by `factor`."""
    return mix((0, 0, 0), color, factor)


def lighten(color: Color, share: float) -> Color:
    """Returns the colour with `share` of white in it."""
    return mix(color, (255, 255, 255), share)


def jitter(rng: np.random.Generator, color: Color, amount: int = 7) -> Color:
    """Returns the colour with up to `amount` added to or taken from each channel."""
    red, green, blue = np.clip(np.asarray(color) + rng.integers(-amount, amount + 1, 3), 0, 255).tolist()
    return (int(red), int(green), int(blue))


def _shade_maps() -> dict[str, NDArray[np.float32]]:
    """Returns brightness factors, (64, 64), about 0.45 to 1.6, that give flat shapes volume in the photo style."""
    y, x = np.mgrid[0:_SHADE_SIZE, 0:_SHADE_SIZE].astype(np.float32) / (_SHADE_SIZE - 1)
    distance = np.sqrt((x - 0.34) ** 2 + (y - 0.30) ** 2)
    sphere = np.clip(1.22 - 0.85 * distance, 0.45, 1.25) + 0.5 * np.exp(-(distance**2) / 0.012)
    return {
        "flat": np.ones_like(x),
        "linear": 1.12 - 0.16 * x - 0.20 * y,
        "sphere": sphere.astype(np.float32),
        "cylinder": (0.74 + 0.40 * np.cos((x - 0.36) * 2.2)).astype(np.float32),
    }


SHADES = _shade_maps()


class Canvas:
    """A picture under construction. Coordinates are fractions of the picture, (0, 0) at the top left.

    Attributes:
        image: RGB, (N, N, 3), uint8.
        depth: (N, N), uint8, 255 = nearest.
        mask: (N, N), uint8, 1 where the subject covers the picture.
        is_subject: While true, shapes are entered into `mask`, and a sketch colours them.
    """

    def __init__(self, pixels: int, style: str) -> None:
        self.pixels = pixels
        self.style = style
        self.image = np.full((pixels, pixels, 3), 255, np.uint8)
        self.depth = np.zeros((pixels, pixels), np.uint8)
        self.mask = np.zeros((pixels, pixels), np.uint8)
        self.is_subject = False
        self.line_width = max(1, round(pixels / 256 * 3.2))

    def to_pixels(self, points: ArrayLike) -> NDArray[np.int32]:
        """Converts fractions, (..., 2), into pixel coordinates, (n, 2)."""
        return np.round(np.asarray(points, np.float64) * self.pixels).astype(np.int32).reshape(-1, 2)

    def _paint(self, color: Color) -> Color:
        """Returns what `color` looks like in this style: a sketch tints the subject and leaves the rest paper."""
        if self.style != "sketch":
            return color
        return mix(color, PAPER, 0.22) if self.is_subject else PAPER

    def polygon(
        self,
        points: ArrayLike,
        color: Color,
        *,
        depth: float | None = None,
        shade: str = "linear",
        outline: bool = True,
    ) -> None:
        """Fills a polygon, shaded in the photo style and outlined in the others.

        Args:
            points: Corners, (n, 2).
            color: The fill before shading.
            depth: Entered into the depth map; None leaves what is there.
            shade: Key of `SHADES`.
            outline: Whether the drawn styles trace the edge.
        """
        corners = self.to_pixels(points)
        if depth is not None:
            cv2.fillPoly(self.depth, [corners], int(depth))
        if self.is_subject:
            cv2.fillPoly(self.mask, [corners], 1)
        if self.style == "photo":
            self._fill_shaded(corners, color, shade)
            return
        cv2.fillPoly(self.image, [corners], self._paint(color))
        if outline:
            cv2.polylines(self.image, [corners], isClosed=True, color=INK, thickness=self.line_width)

    def _fill_shaded(self, corners: NDArray[np.int32], color: Color, shade: str) -> None:
        low = np.maximum(corners.min(axis=0), 0)
        high = np.minimum(corners.max(axis=0) + 1, self.pixels)
        width, height = (high - low).tolist()
        if width <= 0 or height <= 0:
            return
        window = self.image[low[1] : high[1], low[0] : high[0]]
        inside = np.zeros((height, width), np.uint8)
        cv2.fillPoly(inside, [corners - low], 255)
        factor = cv2.resize(SHADES[shade], (width, height))
        shaded = np.clip(factor[..., None] * np.asarray(color, np.float32), 0, 255).astype(np.uint8)
        cv2.copyTo(shaded, inside, window)

    def ellipse(
        self,
        center: Sequence[float],
        radius_x: float,
        radius_y: float,
        color: Color,
        *,
        depth: float | None = None,
        shade: str = "sphere",
        outline: bool = True,
        turn: float = 0.0,
        arc: tuple[float, float] = (0.0, 360.0),
    ) -> None:
        """Fills an ellipse or, with `arc` in degrees (clockwise from the right), the part of it over that arc."""
        angle = np.radians(np.linspace(arc[0], arc[1], 28))
        x, y = np.cos(angle) * radius_x, np.sin(angle) * radius_y
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        points = np.stack([center[0] + x * cos - y * sin, center[1] + x * sin + y * cos], axis=1)
        self.polygon(points, color, depth=depth, shade=shade, outline=outline)

    def capsule(
        self, start: ArrayLike, end: ArrayLike, width: float, color: Color, *, depth: float, end_width: float = 0.0
    ) -> None:
        """Fills a limb: a bar with round ends, `width` wide at `start` and `end_width` (default: the same) at `end`."""
        p, q = np.asarray(start, np.float64), np.asarray(end, np.float64)
        angle = math.atan2(q[1] - p[1], q[0] - p[0])
        back = np.linspace(angle + math.pi / 2, angle + 3 * math.pi / 2, 8)
        front = np.linspace(angle - math.pi / 2, angle + math.pi / 2, 8)
        near = p + np.stack([np.cos(back), np.sin(back)], axis=1) * width / 2
        far = q + np.stack([np.cos(front), np.sin(front)], axis=1) * (end_width or width) / 2
        self.polygon(np.concatenate([near, far]), color, depth=depth, shade="cylinder")

    def rectangle(
        self,
        box: tuple[float, float, float, float],
        color: Color,
        *,
        depth: float | None = None,
        shade: str = "linear",
        outline: bool = True,
    ) -> None:
        """Fills the rectangle (left, top, right, bottom)."""
        left, top, right, bottom = box
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self.polygon(corners, color, depth=depth, shade=shade, outline=outline)

    def line(self, points: ArrayLike, color: Color, width: float = 1.0) -> None:
        """Draws an open line, `width` times the outline's width."""
        thickness = max(1, round(self.line_width * width))
        cv2.polylines(self.image, [self.to_pixels(points)], isClosed=False, color=color, thickness=thickness)

    def dot(self, center: Sequence[float], radius: float, color: Color) -> None:
        """Draws a small disc without outline, depth or mask."""
        x, y = self.to_pixels(center)[0].tolist()
        cv2.circle(self.image, (x, y), max(1, round(radius * self.pixels)), color, -1)

    def patch(self, box: tuple[float, float, float, float], color: Color) -> None:
        """Fills the rectangle (left, top, right, bottom) in every style, without outline, depth or mask."""
        (left, top), (right, bottom) = self.to_pixels(box).tolist()
        cv2.rectangle(self.image, (left, top), (right, bottom), color, -1)

    def gradient(self, top: float, bottom: float, colors: tuple[Color, Color], depths: tuple[int, int]) -> None:
        """Fills the band between two heights; the drawn styles use two flat tones, a sketch leaves the paper."""
        first, last = max(0, round(top * self.pixels)), min(self.pixels, round(bottom * self.pixels))
        if last <= first:
            return
        t = np.linspace(0, 1, last - first, dtype=np.float32)[:, None]
        self.depth[first:last] = ((1 - t) * depths[0] + t * depths[1]).astype(np.uint8)
        if self.style == "sketch":
            self.image[first:last] = PAPER
            return
        tone = t if self.style == "photo" else (t > 0.5) * 0.5
        upper, lower = np.asarray(colors[0], np.float32), np.asarray(colors[1], np.float32)
        band = (1 - tone) * upper + tone * lower
        self.image[first:last] = band.astype(np.uint8)[:, None]

    def shadow(self, center: Sequence[float], radius_x: float, radius_y: float) -> None:
        """Darkens an ellipse on the ground; a sketch has no shadows."""
        if self.style == "sketch":
            return
        inside = np.zeros((self.pixels, self.pixels), np.uint8)
        x, y = self.to_pixels(center)[0].tolist()
        axes = (max(1, round(radius_x * self.pixels)), max(1, round(radius_y * self.pixels)))
        cv2.ellipse(inside, (x, y), axes, 0, 0, 360, 255, -1)
        cv2.copyTo((self.image.astype(np.uint16) * 13 // 20).astype(np.uint8), inside, self.image)

    def rim_light(self, color: Color, width: float = 0.012) -> None:
        """Surrounds the subject with a light edge, so that dark subjects stand out from a dark background."""
        reach = max(1, round(width * self.pixels))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        ring = cv2.dilate(self.mask, kernel) - self.mask
        self.image[ring > 0] = color
