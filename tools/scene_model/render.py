"""Turns a scene in words into a picture with its exact mask, depth map and skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.scene_model.backgrounds import Ground, paint_background
from tools.scene_model.canvas import Canvas, jitter
from tools.scene_model.figures import draw_figure
from tools.scene_model.objects import DRAWERS, FLOATING, Place
from tools.scene_model.spec import COLORS, FIGURES, SceneSpec, Subject, sample_spec

NATIVE_SIZE = 128
_OVERSAMPLING = 2
_PIXEL_BLOCKS = 32
_HEIGHTS = {"small": (0.38, 0.44), "medium": (0.54, 0.62), "large": (0.74, 0.82)}
_CENTERS = {"center": 0.5, "left": 0.29, "right": 0.71}
_MOONLIGHT = (196, 204, 236)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A rendered scene.

    Attributes:
        image: RGB, (size, size, 3), uint8.
        mask: Subject coverage, (size, size), uint8, 0 to 255.
        depth: (size, size), uint8, 255 = nearest.
        skeletons: OpenPose joints of each figure, (18, 2), fractions of the picture.
    """

    spec: SceneSpec
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    skeletons: tuple[NDArray[np.float64], ...]


def _place_subject(subject: Subject, ground: Ground, rng: np.random.Generator) -> Place:
    """Chooses where the subject stands: further down when larger, centred when it floats or has no ground."""
    height = rng.uniform(*_HEIGHTS[subject.size])
    if subject.name in FIGURES:
        height = min(height * 1.15, 0.9)
    x = _CENTERS[subject.position]
    if subject.size == "large":
        x += (0.5 - x) * 0.35
    if subject.name in FLOATING or ground.is_plain:
        foot = 0.5 + height / 2 + rng.uniform(-0.03, 0.03)
    else:
        foot = min(max(ground.horizon + 0.1, 0.7 + height * 0.27) + rng.uniform(-0.02, 0.03), 0.97)
    depth = 180.0 if subject.name in FLOATING else min(250.0, ground.depth_at(foot) + 12)
    color = jitter(rng, COLORS[subject.color])
    return Place(x=x + rng.uniform(-0.03, 0.03), foot=foot, height=height, depth=depth, color=color)


def _draw_subject(
    canvas: Canvas, subject: Subject, ground: Ground, background: str, rng: np.random.Generator
) -> tuple[NDArray[np.float64], ...]:
    place = _place_subject(subject, ground, rng)
    if subject.name not in FLOATING and background != "night sky":
        width = 0.26 if subject.name in FIGURES else 0.48
        canvas.shadow((place.x, place.foot), place.height * width, place.height * 0.05)
    canvas.is_subject = True
    skeletons: tuple[NDArray[np.float64], ...] = ()
    if subject.name in FIGURES:
        skeletons = (draw_figure(canvas, place, subject, rng),)
    else:
        DRAWERS[subject.name](canvas, place, rng)
    canvas.is_subject = False
    if background == "night sky" and canvas.style != "sketch":
        canvas.rim_light(_MOONLIGHT)
    return skeletons


def _finish_image(image: NDArray[np.uint8], style: str, size: int) -> NDArray[np.uint8]:
    """Shrinks the oversampled picture; pixel art gets square blocks of 16 tones a channel."""
    if style != "pixel art":
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)
    blocks = cv2.resize(image, (_PIXEL_BLOCKS, _PIXEL_BLOCKS), interpolation=cv2.INTER_AREA)
    tones = (blocks // 16 * 17).astype(np.uint8)
    return cv2.resize(tones, (size, size), interpolation=cv2.INTER_NEAREST).astype(np.uint8)


def render_scene(
    spec: SceneSpec, rng: np.random.Generator, size: int = NATIVE_SIZE, companions: Sequence[Subject] = ()
) -> Scene:
    """Renders a scene.

    Args:
        spec: What to draw.
        rng: Decides what the words leave open, such as exact places, hills and skin.
        size: Width and height in pixels.
        companions: Further subjects, drawn before the scene's own one, which may cover them.
    """
    canvas = Canvas(size * _OVERSAMPLING, spec.style)
    ground = paint_background(canvas, spec, rng)
    skeletons: tuple[NDArray[np.float64], ...] = ()
    for subject in (*companions, spec.subject):
        if subject is not None:
            skeletons += _draw_subject(canvas, subject, ground, spec.background, rng)
    shape = (size, size)
    mask = cv2.resize(canvas.mask * 255, shape, interpolation=cv2.INTER_AREA).astype(np.uint8)
    depth = cv2.resize(canvas.depth, shape, interpolation=cv2.INTER_AREA).astype(np.uint8)
    image = _finish_image(canvas.image, spec.style, size)
    return Scene(spec=spec, image=image, mask=mask, depth=depth, skeletons=skeletons)


def random_scene(seed: int, size: int = NATIVE_SIZE, *, allow_held_out: bool = False) -> Scene:
    """Renders scene number `seed` of the endless training set."""
    rng = np.random.default_rng(seed)
    return render_scene(sample_spec(rng, allow_held_out=allow_held_out), rng, size)
