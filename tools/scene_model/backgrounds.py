"""Paints the six backgrounds and tells where the ground is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.scene_model.canvas import PAPER, Canvas, darken, jitter, mix
from tools.scene_model.spec import COLORS, Color, SceneSpec

_GROUND_FAR, _GROUND_NEAR = 70, 235


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where subjects may stand: `horizon` is the height at which the ground begins, 0 = top, 1 = bottom."""

    horizon: float
    is_plain: bool = False

    def depth_at(self, y: float) -> float:
        """Returns the depth, 0 to 255, of something whose foot is at height `y`."""
        if self.is_plain:
            return 170.0
        share = float(np.clip((y - self.horizon) / (1 - self.horizon), 0, 1))
        return _GROUND_FAR + (_GROUND_NEAR - _GROUND_FAR) * share


def _wave(rng: np.random.Generator, y: float, amplitude: float) -> NDArray[np.float64]:
    """Returns an outline, (n, 2), of everything below a gently waving line at height `y`."""
    x = np.linspace(-0.05, 1.05, 20)
    crest = y + amplitude * np.sin(x * rng.uniform(3, 8) + rng.uniform(0, 6.28))
    return np.concatenate([np.stack([x, crest], axis=1), [(1.05, 1.05), (-0.05, 1.05)]])


def _ground(canvas: Canvas, outline: NDArray[np.float64], color: Color) -> None:
    canvas.polygon(outline, color, shade="flat")


def _sun(canvas: Canvas, rng: np.random.Generator) -> None:
    if rng.random() < 0.35:
        radius = rng.uniform(0.06, 0.075)
        center = (float(rng.choice((0.14, 0.86))) + rng.uniform(-0.04, 0.04), rng.uniform(0.1, 0.16))
        canvas.ellipse(center, radius, radius, (254, 226, 96), depth=2, shade="flat")


def _cloud(canvas: Canvas, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        return
    x, y, width = rng.uniform(0.15, 0.85), rng.uniform(0.08, 0.2), rng.uniform(0.1, 0.14)
    bumps = np.linspace(0, np.pi, 40)
    top = y - 0.03 * np.abs(np.sin(bumps * 3)) - 0.055 * np.sin(bumps)
    outline = np.stack([x + width * np.cos(bumps), top], axis=1)
    canvas.polygon(outline, (250, 250, 252), depth=4, shade="flat")


def _beach(canvas: Canvas, rng: np.random.Generator) -> Ground:
    horizon = rng.uniform(0.40, 0.46)
    shore = horizon + rng.uniform(0.14, 0.18)
    canvas.gradient(0, horizon, (jitter(rng, (118, 196, 246)), (206, 236, 250)), (0, 12))
    _sun(canvas, rng)
    _cloud(canvas, rng)
    canvas.gradient(horizon, shore + 0.06, (jitter(rng, (24, 104, 184)), (70, 190, 206)), (14, 60))
    canvas.line([(0, horizon), (1, horizon)], (90, 90, 96) if canvas.style == "sketch" else (20, 84, 150), 0.7)
    for _ in range(3):
        x, y = rng.uniform(0.05, 0.8), rng.uniform(horizon + 0.03, shore - 0.02)
        color = (90, 90, 96) if canvas.style == "sketch" else (206, 238, 246)
        canvas.line([(x, y), (x + 0.05, y - 0.01), (x + 0.1, y)], color)
    _ground(canvas, _wave(rng, shore, 0.012), jitter(rng, (238, 212, 150)))
    return Ground(horizon=shore)


def _meadow(canvas: Canvas, rng: np.random.Generator) -> Ground:
    horizon = rng.uniform(0.42, 0.48)
    canvas.gradient(0, horizon + 0.08, (jitter(rng, (124, 200, 248)), (214, 240, 250)), (0, 12))
    _sun(canvas, rng)
    _cloud(canvas, rng)
    canvas.polygon(_wave(rng, horizon - 0.02, 0.045), jitter(rng, (134, 204, 88)), depth=40, shade="flat")
    _ground(canvas, _wave(rng, horizon + 0.1, 0.02), jitter(rng, (88, 178, 60)))
    flowers: tuple[Color, ...] = ((255, 255, 255), (250, 220, 60), (240, 110, 150))
    for _ in range(9):
        x, y = rng.uniform(0.02, 0.98), rng.uniform(horizon + 0.2, 0.98)
        if canvas.style == "sketch":
            canvas.line([(x - 0.015, y - 0.03), (x, y), (x + 0.015, y - 0.03)], (100, 100, 106), 0.7)
        else:
            canvas.dot((x, y), 0.011, flowers[int(rng.integers(3))])
    return Ground(horizon=horizon + 0.1)


def _night(canvas: Canvas, rng: np.random.Generator) -> Ground:
    horizon = rng.uniform(0.72, 0.76)
    canvas.gradient(0, horizon + 0.04, (jitter(rng, (22, 26, 82), 5), (62, 56, 136)), (0, 12))
    star = (70, 70, 76) if canvas.style == "sketch" else (255, 253, 226)
    for _ in range(16):
        canvas.dot((rng.uniform(0, 1), rng.uniform(0, horizon - 0.04)), rng.uniform(0.005, 0.011), star)
    x, radius = float(rng.choice((0.15, 0.85))) + rng.uniform(-0.04, 0.04), rng.uniform(0.08, 0.095)
    canvas.ellipse((x, 0.15), radius, radius, (246, 240, 204), depth=3, shade="flat")
    canvas.ellipse((x + 0.045, 0.13), radius * 0.8, radius * 0.8, (22, 26, 82), depth=3, shade="flat", outline=False)
    _ground(canvas, _wave(rng, horizon, 0.018), jitter(rng, (34, 48, 74), 5))
    return Ground(horizon=horizon)


def _mountains(canvas: Canvas, rng: np.random.Generator) -> Ground:
    horizon = rng.uniform(0.56, 0.6)
    canvas.gradient(0, horizon + 0.05, (jitter(rng, (150, 196, 236)), (232, 238, 246)), (0, 12))
    for x in (0.14, 0.86, 0.5):
        peak = np.array([x + rng.uniform(-0.07, 0.07), rng.uniform(0.1, 0.2)])
        left = np.array([peak[0] - rng.uniform(0.3, 0.38), horizon + 0.06])
        right = np.array([peak[0] + rng.uniform(0.3, 0.38), horizon + 0.06])
        canvas.polygon([peak, right, left], jitter(rng, (108, 116, 146), 10), depth=24)
        snow = 0.34
        zigzag = [peak + (right - peak) * snow, peak + np.array([0.02, 0.09]), peak + (left - peak) * snow]
        canvas.polygon([peak, *zigzag], (246, 249, 253), depth=24, shade="flat")
    _ground(canvas, _wave(rng, horizon, 0.018), jitter(rng, (98, 142, 88)))
    return Ground(horizon=horizon)


def _city(canvas: Canvas, rng: np.random.Generator) -> Ground:
    horizon = rng.uniform(0.68, 0.72)
    canvas.gradient(0, horizon + 0.02, (jitter(rng, (176, 202, 226)), (240, 226, 210)), (0, 12))
    walls: tuple[Color, ...] = ((120, 128, 142), (150, 136, 130), (98, 110, 132), (164, 158, 158))
    x = -0.04 - rng.uniform(0, 0.08)
    while x < 1:
        width, top = rng.uniform(0.16, 0.22), rng.uniform(0.08, 0.36)
        canvas.rectangle((x, top, x + width, horizon + 0.02), jitter(rng, walls[int(rng.integers(4))]), depth=50)
        window: Color = (150, 150, 156) if canvas.style == "sketch" else (252, 238, 160)
        for y in np.arange(top + 0.045, horizon - 0.05, 0.09):
            for column in (0.22, 0.62):
                left = x + width * column
                canvas.patch((left, float(y), left + width * 0.2, float(y) + 0.04), window)
        x += width + 0.005
    road = [(-0.05, horizon), (1.05, horizon), (1.05, 1.05), (-0.05, 1.05)]
    _ground(canvas, np.asarray(road), jitter(rng, (88, 88, 98), 5))
    for left in (0.02, 0.36, 0.70):
        canvas.rectangle((left, 0.9, left + 0.2, 0.925), (236, 232, 206), shade="flat", outline=False)
    return Ground(horizon=horizon)


def _plain(canvas: Canvas, rng: np.random.Generator, color: Color) -> Ground:
    tone = jitter(rng, color, 5)
    if canvas.style == "sketch":
        canvas.image[:] = mix(tone, PAPER, 0.45)
        canvas.depth[:] = 10
    else:
        canvas.gradient(0, 1, (tone, darken(tone, 0.88)), (10, 10))
    return Ground(horizon=0.6, is_plain=True)


_PAINTERS: dict[str, Callable[[Canvas, np.random.Generator], Ground]] = {
    "beach": _beach,
    "meadow": _meadow,
    "night sky": _night,
    "mountains": _mountains,
    "city": _city,
}


def paint_background(canvas: Canvas, spec: SceneSpec, rng: np.random.Generator) -> Ground:
    """Paints the background of `spec` over the whole canvas, including the depth of the ground."""
    if spec.background == "plain":
        return _plain(canvas, rng, COLORS[spec.background_color or "white"])
    ground = _PAINTERS[spec.background](canvas, rng)
    first = round(ground.horizon * canvas.pixels)
    rows = np.linspace(_GROUND_FAR, _GROUND_NEAR, canvas.pixels - first)
    canvas.depth[first:] = rows[:, None].astype(np.uint8)
    return ground
