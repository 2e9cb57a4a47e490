"""Draws poses as the pose ControlNets know them: limbs, joints, hands, faces, animals."""

from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np

from preprocessors.base import Pixels
from preprocessors.poses import HAND_POINTS, Points, Poses, in_pixels
from schema.errors import InvalidRequest

Color = tuple[int, int, int]

JOINT_COLORS: tuple[Color, ...] = (
    (255, 0, 0),
    (255, 85, 0),
    (255, 170, 0),
    (255, 255, 0),
    (170, 255, 0),
    (85, 255, 0),
    (0, 255, 0),
    (0, 255, 85),
    (0, 255, 170),
    (0, 255, 255),
    (0, 170, 255),
    (0, 85, 255),
    (0, 0, 255),
    (85, 0, 255),
    (170, 0, 255),
    (255, 0, 255),
    (255, 0, 170),
    (255, 0, 85),
)
"""Around the colour circle; a limb has the colour of its place in `LIMBS`, darker."""

LIMBS: tuple[tuple[int, int], ...] = (
    (1, 2),
    (1, 5),
    (2, 3),
    (3, 4),
    (5, 6),
    (6, 7),
    (1, 8),
    (8, 9),
    (9, 10),
    (1, 11),
    (11, 12),
    (12, 13),
    (1, 0),
    (0, 14),
    (14, 16),
    (0, 15),
    (15, 17),
)
"""Body points that a limb joins."""

_LIMB_BRIGHTNESS = 0.6
_LIMB_WIDTH = 4
_JOINT_RADIUS = 4
_FACE_RADIUS = 3
_HAND_LINE = 2
_ANIMAL_LINE = 5

_HAND_LIMBS = tuple(
    (0 if joint == 0 else finger * 4 + joint, finger * 4 + joint + 1) for finger in range(5) for joint in range(4)
)

_ANIMAL_LIMBS: tuple[tuple[int, int, Color], ...] = (
    (0, 1, (255, 255, 255)),
    (1, 2, (100, 255, 100)),
    (0, 2, (150, 255, 255)),
    (2, 3, (100, 50, 255)),
    (3, 8, (50, 150, 200)),
    (8, 9, (0, 255, 255)),
    (9, 10, (0, 150, 0)),
    (3, 5, (0, 0, 255)),
    (5, 6, (0, 0, 150)),
    (6, 7, (255, 50, 255)),
    (3, 4, (255, 0, 255)),
    (4, 14, (255, 0, 0)),
    (14, 15, (150, 0, 0)),
    (15, 16, (255, 255, 100)),
    (4, 11, (0, 150, 0)),
    (11, 12, (255, 255, 0)),
    (12, 13, (150, 150, 150)),
)


def draw_poses(poses: Poses, *, body: bool = True, hands: bool = True, face: bool = True) -> Pixels:
    """Poses on black, (height, width, 3): the parts that are asked for of all people, and all animals.

    Source: sd-webui-controlnet annotator/openpose, draw_poses: colours, widths and order.
    """
    canvas = np.zeros((poses.height, poses.width, 3), np.uint8)
    for person in poses.people:
        if body:
            _draw_body(canvas, person.body)
        if hands:
            _draw_hand(canvas, person.left_hand)
            _draw_hand(canvas, person.right_hand)
        if face:
            _draw_face(canvas, person.face)
    for animal in poses.animals:
        _draw_animal(canvas, animal)
    return canvas


def render_openpose_json(value: object) -> Pixels:
    """The map of a pose given as OpenPose's JSON, (canvas_height, canvas_width, 3).

    Raises:
        InvalidRequest: If it is not such JSON; the message names the field.
    """
    poses = Poses.from_json(value)
    if not poses.people and not poses.animals:
        raise InvalidRequest("The pose holds neither people nor animals.")
    return draw_poses(poses)


def _pixel(point: tuple[float, float]) -> tuple[int, int]:
    # OpenCV cannot take coordinates beyond its integers; far outside is outside.
    return int(np.clip(point[0], -1e5, 1e5)), int(np.clip(point[1], -1e5, 1e5))


def _draw_body(canvas: Pixels, points: Points) -> None:
    """Limbs as narrow ellipses at 60 % brightness, then joints as discs."""
    found = in_pixels(points, canvas.shape[1], canvas.shape[0])
    for (start, end), color in zip(LIMBS, JOINT_COLORS, strict=False):
        first = found[start] if start < len(found) else None
        second = found[end] if end < len(found) else None
        if first is None or second is None:
            continue
        (x1, y1), (x2, y2) = first, second
        middle = _pixel(((x1 + x2) / 2, (y1 + y2) / 2))
        half = int(min(math.hypot(x1 - x2, y1 - y2) / 2, 1e5))
        angle = int(math.degrees(math.atan2(y1 - y2, x1 - x2)))
        outline = np.array(cv2.ellipse2Poly(middle, (half, _LIMB_WIDTH), angle, 0, 360, 1), np.int32)
        cv2.fillConvexPoly(canvas, outline, [int(value * _LIMB_BRIGHTNESS) for value in color])
    for point, color in zip(found, JOINT_COLORS, strict=False):
        if point is not None:
            cv2.circle(canvas, _pixel(point), _JOINT_RADIUS, color, thickness=-1)


def _draw_hand(canvas: Pixels, points: Points) -> None:
    """Fingers as lines around the colour circle, joints as blue discs; points at the border count as missing."""
    found = [
        point if point is not None and int(point[0]) > 0 and int(point[1]) > 0 else None
        for point in in_pixels(points, canvas.shape[1], canvas.shape[0])
    ]
    found += [None] * (HAND_POINTS - len(found))
    for index, (start, end) in enumerate(_HAND_LIMBS if points else ()):
        first, second = found[start], found[end]
        if first is not None and second is not None:
            color = [255 * value for value in colorsys.hsv_to_rgb(index / len(_HAND_LIMBS), 1, 1)]
            cv2.line(canvas, _pixel(first), _pixel(second), color, thickness=_HAND_LINE)
    for point in found:
        if point is not None:
            cv2.circle(canvas, _pixel(point), _JOINT_RADIUS, (0, 0, 255), thickness=-1)


def _draw_face(canvas: Pixels, points: Points) -> None:
    for point in in_pixels(points, canvas.shape[1], canvas.shape[0]):
        if point is not None and int(point[0]) > 0 and int(point[1]) > 0:
            cv2.circle(canvas, _pixel(point), _FACE_RADIUS, (255, 255, 255), thickness=-1)


def _draw_animal(canvas: Pixels, points: Points) -> None:
    found = in_pixels(points, canvas.shape[1], canvas.shape[0])
    for start, end, color in _ANIMAL_LIMBS:
        first = found[start] if start < len(found) else None
        second = found[end] if end < len(found) else None
        if first is not None and second is not None:
            cv2.line(canvas, _pixel(first), _pixel(second), color, thickness=_ANIMAL_LINE)
