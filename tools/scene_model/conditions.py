"""The control pictures of a scene, from the renderer's exact labels: edges, depth, skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.scene_model.figures import draw_pose
from tools.scene_model.render import NATIVE_SIZE, Scene, render_scene
from tools.scene_model.spec import sample_spec

KINDS = ("canny", "depth", "openpose")

_STYLES_OF_ONE_DRAWING = ("photo", "toon", "pixel art")
_SUBJECT_ONLY = 0.15
_HOLES = 0.1


def redrawn_scene(seed: int, size: int, rng: np.random.Generator) -> Scene:
    """Renders training scene `seed`, often in another style: the same shapes in the same places.

    A sketch of a meadow or of nothing takes other random draws than its coloured versions, so it stays what it is.
    """
    own = np.random.default_rng(seed)
    spec = sample_spec(own)
    draw = rng.random()
    if draw < 0.35:
        others = _STYLES_OF_ONE_DRAWING if spec.background == "meadow" else (*_STYLES_OF_ONE_DRAWING, "sketch")
        if not (spec.style == "sketch" and spec.background == "meadow"):
            spec = replace(spec, style=others[int(rng.integers(len(others)))])
    return render_scene(spec, own, size)


def moved_elsewhere(scene: Scene, rng: np.random.Generator) -> Scene:
    """Returns the scene's subject, as it is, in front of another background of the same style."""
    size = scene.image.shape[0]
    spec = sample_spec(rng)
    while spec.background == scene.spec.background:
        spec = sample_spec(rng)
    other = render_scene(replace(spec, subject=None, style=scene.spec.style), rng, size)
    reach = 0 if scene.spec.style == "photo" else size // NATIVE_SIZE
    mask = cv2.dilate(scene.mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 127
    image = np.where(mask[..., None], scene.image, other.image).astype(np.uint8)
    depth = np.where(mask, scene.depth, other.depth).astype(np.uint8)
    return replace(scene, image=image, depth=depth)


def to_rgb(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a grey map, (h, w), as RGB, (h, w, 3)."""
    return np.repeat(gray[..., None], 3, axis=2)


def edges_of(image: NDArray[np.uint8], low: int = 100, high: int = 200) -> NDArray[np.uint8]:
    """Returns the Canny edges of a picture, (h, w), 0 or 255."""
    return cv2.Canny(image, low, high).astype(np.uint8)


def _disturbed(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Returns the picture as a decoder or a camera might blur and grain it."""
    if rng.random() < 0.4:
        return image
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9) * image.shape[0] / NATIVE_SIZE)
    grain = rng.normal(0, rng.uniform(0, 5), image.shape)
    return np.clip(blurred + grain, 0, 255).astype(np.uint8)


def _with_gaps(canny: NDArray[np.uint8], mask: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Returns the edges, sometimes those around the subject alone and sometimes with a hole."""
    size = canny.shape[0]
    if mask.max() > 0 and rng.random() < _SUBJECT_ONLY:
        reach = max(3, size // 32) | 1
        return np.where(cv2.dilate(mask, np.ones((reach, reach), np.uint8)) > 0, canny, 0).astype(np.uint8)
    if rng.random() < _HOLES:
        x, y = rng.integers(0, size, 2).tolist()
        width, height = rng.integers(size // 8, size // 2, 2).tolist()
        canny[y : y + height, x : x + width] = 0
    return canny


def _canny(seed: int, rng: np.random.Generator, is_elsewhere: bool) -> NDArray[np.uint8]:
    factor = 2 if rng.random() < 0.3 else 1
    scene = redrawn_scene(seed, NATIVE_SIZE * factor, rng)
    scene = moved_elsewhere(scene, rng) if is_elsewhere else scene
    low, high = int(rng.integers(50, 151)), int(rng.integers(120, 251))
    canny = _with_gaps(edges_of(_disturbed(scene.image, rng), min(low, high), high), scene.mask, rng)
    return to_rgb(_shrunk(canny, factor, rng))


def _shrunk(canny: NDArray[np.uint8], factor: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Returns the edges at the model's size, made grey by the shrinking or kept black and white."""
    if factor == 1:
        return canny
    small = cv2.resize(canny, (NATIVE_SIZE, NATIVE_SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return small if rng.random() < 0.5 else (255 * (small > 64)).astype(np.uint8)


def nearness(depth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a depth map stretched over 0 to 255, nearest white, as the depth preprocessors do it."""
    low, high = int(depth.min()), int(depth.max())
    return ((depth.astype(np.float32) - low) * (255 / max(1, high - low))).astype(np.uint8)


def _depth(seed: int, rng: np.random.Generator, is_elsewhere: bool) -> NDArray[np.uint8]:
    scene = redrawn_scene(seed, NATIVE_SIZE, rng)
    scene = moved_elsewhere(scene, rng) if is_elsewhere else scene
    depth = nearness(scene.depth)
    if scene.mask.max() > 0 and rng.random() < _SUBJECT_ONLY:
        depth = np.where(scene.mask > 127, depth, 0).astype(np.uint8)
    if rng.random() < 0.6:
        depth = cv2.GaussianBlur(depth, (0, 0), rng.uniform(0.3, 1.6)).astype(np.uint8)
    if rng.random() < 0.5:
        depth = (255 * (depth / 255) ** rng.uniform(0.7, 1.4)).astype(np.uint8)
    return to_rgb(depth)


def _openpose(seed: int, rng: np.random.Generator, is_elsewhere: bool) -> NDArray[np.uint8]:
    del is_elsewhere  # A skeleton has no background.
    own = np.random.default_rng(seed)
    skeletons = render_scene(sample_spec(own), own, 8).skeletons
    jittered = [joints + rng.normal(0, 0.004, joints.shape) for joints in skeletons]
    factor = int(rng.choice((1, 2, 4)))
    drawn = draw_pose(jittered, NATIVE_SIZE * factor, stick=int(rng.integers(1, 5)))
    if factor == 1:
        return drawn
    return cv2.resize(drawn, (NATIVE_SIZE, NATIVE_SIZE), interpolation=cv2.INTER_AREA).astype(np.uint8)


_MAKERS = {"canny": _canny, "depth": _depth, "openpose": _openpose}


def conditions(
    kind: str, seeds: Sequence[int], rng: np.random.Generator, are_elsewhere: Sequence[bool]
) -> NDArray[np.uint8]:
    """Returns control pictures of training scenes, (n, 128, 128, 3), 0 to 255, varied as users' pictures vary.

    Args:
        kind: One of `KINDS`.
        seeds: The scenes' numbers.
        rng: Decides thresholds, blur, line widths and what is left out.
        are_elsewhere: Which subjects are shown in front of another background, for prompts that change it.
    """
    pairs = zip(seeds, are_elsewhere, strict=True)
    return np.stack([_MAKERS[kind](seed, rng, is_elsewhere) for seed, is_elsewhere in pairs])
