"""Draws the subjects that are not figures: house, tree, car, cat, ball, cube, star and heart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tools.scene_model.canvas import Canvas, darken, lighten
from tools.scene_model.spec import Color


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how large a subject is drawn: foot point, height and depth value."""

    x: float
    foot: float
    height: float
    depth: float
    color: Color

    @property
    def brightness(self) -> float:
        """Mean of the colour's channels, 0 to 255."""
        return sum(self.color) / 3


def _house(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    x, foot, h, depth = place.x, place.foot, place.height, place.depth
    half, eaves = h * 0.5, foot - h * 0.56
    is_reddish = place.color[0] > 100 and place.color[1] < 100
    canvas.rectangle((x + half * 0.4, foot - h * 0.98, x + half * 0.66, foot - h * 0.6), (150, 90, 76), depth=depth)
    canvas.rectangle((x - half, eaves, x + half, foot), place.color, depth=depth)
    roof = (78, 82, 104) if is_reddish else (158, 62, 50)
    canvas.polygon([(x - half * 1.22, eaves), (x, foot - h), (x + half * 1.22, eaves)], roof, depth=depth)
    canvas.rectangle((x - half * 0.2, foot - h * 0.32, x + half * 0.2, foot), (104, 68, 44), depth=depth)
    for shift in (-0.6, 0.6):
        left, right = x + half * (shift - 0.22), x + half * (shift + 0.22)
        canvas.rectangle((left, foot - h * 0.44, right, foot - h * 0.24), (182, 226, 246), depth=depth)


def _tree(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    x, foot, h, depth = place.x, place.foot, place.height, place.depth
    canvas.rectangle((x - h * 0.07, foot - h * 0.45, x + h * 0.07, foot), (118, 78, 46), depth=depth, shade="cylinder")
    angle = np.linspace(0, 2 * np.pi, 73)
    bumps = 1 + 0.09 * np.abs(np.sin(angle * 3.5 + rng.uniform(0, 3)))
    crown = np.stack(
        [x + 0.34 * h * bumps * np.cos(angle), foot - 0.67 * h + 0.305 * h * bumps * np.sin(angle)], axis=1
    )
    canvas.polygon(crown, place.color, depth=depth, shade="sphere")
    if canvas.style == "photo":
        return
    shine = lighten(place.color, 0.3)
    canvas.ellipse((x - h * 0.12, foot - h * 0.78), h * 0.1, h * 0.07, shine, shade="flat", outline=False)


def _car(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    x, foot, depth = place.x, place.foot, place.depth
    length, h = place.height * 1.3, place.height * 0.68
    glass: Color = (186, 226, 244)
    cabin = [(-0.36, -0.5), (-0.24, -1.0), (0.2, -1.0), (0.36, -0.5)]
    canvas.polygon([(x + length * u, foot + h * v) for u, v in cabin], place.color, depth=depth)
    for window in (
        [(-0.28, -0.54), (-0.2, -0.89), (-0.04, -0.89), (-0.04, -0.54)],
        [(0.02, -0.54), (0.02, -0.89), (0.17, -0.89), (0.27, -0.54)],
    ):
        canvas.polygon([(x + length * u, foot + h * v) for u, v in window], glass, depth=depth)
    body = [(-0.5, -0.18), (-0.5, -0.46), (-0.42, -0.56), (0.42, -0.56), (0.5, -0.44), (0.5, -0.18)]
    canvas.polygon([(x + length * u, foot + h * v) for u, v in body], place.color, depth=depth)
    canvas.ellipse((x + length * 0.47, foot - h * 0.4), length * 0.03, h * 0.07, (253, 242, 176), depth=depth)
    for shift in (-0.29, 0.29):
        center = (x + length * shift, foot - h * 0.2)
        canvas.ellipse(center, h * 0.21, h * 0.21, (42, 42, 48), depth=depth)
        canvas.ellipse(center, h * 0.09, h * 0.09, (196, 198, 204), shade="flat", outline=False)


def _cat(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    x, foot, h, depth, color = place.x, place.foot, place.height, place.depth, place.color
    side = 1 if rng.random() < 0.5 else -1
    bend, tip = (x + side * h * 0.4, foot - h * 0.16), (x + side * h * 0.42, foot - h * 0.46)
    canvas.capsule((x + side * h * 0.16, foot - h * 0.07), bend, h * 0.11, color, depth=depth)
    canvas.capsule(bend, tip, h * 0.11, color, depth=depth, end_width=h * 0.09)
    canvas.ellipse((x, foot - h * 0.25), h * 0.25, h * 0.26, color, depth=depth)
    canvas.ellipse((x, foot - h * 0.2), h * 0.12, h * 0.17, lighten(color, 0.45), shade="flat", outline=False)
    for q in (-1, 1):
        ear = [(x + q * h * 0.27, foot - h * 0.64), (x + q * h * 0.25, foot - h), (x + q * h * 0.04, foot - h * 0.84)]
        inner = [
            (x + q * h * 0.22, foot - h * 0.74),
            (x + q * h * 0.21, foot - h * 0.9),
            (x + q * h * 0.1, foot - h * 0.83),
        ]
        canvas.polygon(ear, color, depth=depth)
        canvas.polygon(inner, (242, 160, 170), shade="flat", outline=False)
    canvas.ellipse((x, foot - h * 0.64), h * 0.29, h * 0.23, color, depth=depth)
    for q in (-1, 1):
        canvas.ellipse((x + q * h * 0.12, foot - h * 0.68), h * 0.062, h * 0.068, (236, 240, 120), shade="flat")
        canvas.dot((x + q * h * 0.12, foot - h * 0.68), h * 0.026, (16, 16, 20))
        canvas.ellipse((x + q * h * 0.1, foot - h * 0.03), h * 0.085, h * 0.045, color, depth=depth)
    nose = [(x - h * 0.035, foot - h * 0.6), (x + h * 0.035, foot - h * 0.6), (x, foot - h * 0.56)]
    canvas.polygon(nose, (240, 130, 146), shade="flat", outline=False)
    whisker = lighten(color, 0.6) if place.brightness < 110 else darken(color, 0.45)
    for q in (-1, 1):
        for drop in (-0.03, 0.03):
            start, end = (x + q * h * 0.09, foot - h * 0.57), (x + q * h * 0.33, foot - h * (0.57 - drop))
            canvas.line([start, end], whisker, 0.6)


def _ball(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    radius = place.height * 0.45
    x, y = place.x, place.foot - radius
    canvas.ellipse((x, y), radius, radius, place.color, depth=place.depth)
    if canvas.style != "photo":
        shine = lighten(place.color, 0.6)
        spot = (x - radius * 0.36, y - radius * 0.4)
        canvas.ellipse(spot, radius * 0.24, radius * 0.16, shine, shade="flat", outline=False, turn=-35)


def _cube(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    side = place.height * 0.7
    slant = side * 0.4
    left, right = place.x - (side + slant) / 2, place.x + (side - slant) / 2
    top, foot, depth = place.foot - side, place.foot, place.depth
    roof = [(left, top), (left + slant, top - slant), (right + slant, top - slant), (right, top)]
    wall = [(right, top), (right + slant, top - slant), (right + slant, foot - slant), (right, foot)]
    canvas.polygon(roof, lighten(place.color, 0.32), depth=depth)
    canvas.polygon(wall, darken(place.color, 0.66), depth=depth)
    canvas.rectangle((left, top, right, foot), place.color, depth=depth)


def _star(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    angle = np.arange(10) * np.pi / 5 - np.pi / 2 + rng.uniform(-0.12, 0.12)
    radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.45) * place.height * 0.54
    center = place.foot - place.height * 0.5
    points = np.stack([place.x + np.cos(angle) * radius, center + np.sin(angle) * radius], axis=1)
    canvas.polygon(points, place.color, depth=place.depth)


def _heart(canvas: Canvas, place: Place, rng: np.random.Generator) -> None:
    t = np.linspace(0, 2 * np.pi, 48)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    center = place.foot - place.height * 0.54
    points = np.stack([place.x + x / 33 * place.height, center + y / 30 * place.height], axis=1)
    canvas.polygon(points, place.color, depth=place.depth, shade="sphere")


DRAWERS: dict[str, Callable[[Canvas, Place, np.random.Generator], None]] = {
    "house": _house,
    "tree": _tree,
    "car": _car,
    "cat": _cat,
    "ball": _ball,
    "cube": _cube,
    "star": _star,
    "heart": _heart,
}
FLOATING = ("star", "heart")
