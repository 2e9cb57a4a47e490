"""Draws persons and astronauts from a skeleton, and skeletons as OpenPose pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.scene_model.canvas import INK, Canvas, darken, jitter
from tools.scene_model.objects import Place
from tools.scene_model.spec import COLORS, HAIR_COLORS, Color, Subject

NOSE, NECK = 0, 1
R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST = range(2, 8)
R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE = range(8, 14)
R_EYE, L_EYE, R_EAR, L_EAR = range(14, 18)

# Source: OpenPose's COCO-18 model; limbs in drawing order, a colour for each limb and joint.
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
POSE_COLORS: tuple[Color, ...] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255),
    (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
SKIN_TONES: tuple[Color, ...] = ((248, 210, 180), (226, 176, 136), (156, 106, 74), (252, 220, 194))

_GLOVES: Color = (150, 154, 166)
_PACK: Color = (168, 172, 184)
_VISOR: Color = (34, 52, 98)

Angles = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class _Stance:
    """Angles in degrees of (upper, lower) arm and leg: 0 = down, positive = to the picture's right."""

    right_arm: Angles
    left_arm: Angles
    right_leg: Angles
    left_leg: Angles


def _stance(pose: str, rng: np.random.Generator) -> _Stance:
    """Returns a random variant of a pose. Right limbs are on the picture's left: the figure faces us."""
    u = rng.uniform
    spread = u(5, 11)
    arms: tuple[Angles, Angles] = ((-u(10, 20), -u(4, 12)), (u(10, 20), u(4, 12)))
    legs: tuple[Angles, Angles] = ((-spread, -spread), (spread, spread))
    if pose == "arms up":
        arms = ((-u(140, 156), -u(160, 176)), (u(140, 156), u(160, 176)))
    elif pose == "waving":
        raised = (u(110, 136), u(156, 176))
        arms = (arms[0], raised) if rng.random() < 0.5 else ((-raised[0], -raised[1]), arms[1])
    elif pose == "hands on hips":
        arms = ((-u(44, 54), u(40, 50)), (u(44, 54), -u(40, 50)))
    elif pose == "walking":
        step = u(20, 28)
        legs, arms = ((-step, -step * 0.5), (step, step * 0.3)), ((-u(24, 36), -u(4, 16)), (u(24, 36), u(10, 26)))
    elif pose == "jumping":
        legs, arms = (
            ((-u(32, 46), u(12, 34)), (u(32, 46), -u(12, 34))),
            ((-u(116, 140), -u(136, 160)), (u(116, 140), u(136, 160))),
        )
    elif pose == "arms out":
        arms = ((-u(84, 96), -u(84, 96)), (u(84, 96), u(84, 96)))
    return _Stance(right_arm=arms[0], left_arm=arms[1], right_leg=legs[0], left_leg=legs[1])


def _toward(angle: float) -> NDArray[np.float64]:
    """Returns the unit vector of an angle in degrees: 0 = down, positive = to the right."""
    return np.array([math.sin(math.radians(angle)), math.cos(math.radians(angle))])


def _head_radius(height: float, *, is_astronaut: bool) -> float:
    return height * (0.145 if is_astronaut else 0.112)


def make_skeleton(place: Place, pose: str, rng: np.random.Generator, *, is_astronaut: bool) -> NDArray[np.float64]:
    """Returns OpenPose's 18 joints, (18, 2), as fractions of the picture, for a figure filling `place`."""
    h, stance = place.height, _stance(pose, rng)
    head = _head_radius(h, is_astronaut=is_astronaut)
    leg, torso = h * 0.20, h * 0.29
    arm = h * 0.155
    foot = place.foot - (0.07 * h if pose == "jumping" else 0.0)
    reach = max(
        leg * (math.cos(math.radians(upper)) + math.cos(math.radians(lower)))
        for upper, lower in (stance.right_leg, stance.left_leg)
    )
    joints = np.zeros((18, 2))
    hip = np.array([place.x, foot - 0.03 * h - reach])
    joints[NECK] = hip - [0, torso]
    joints[R_SHOULDER], joints[L_SHOULDER] = joints[NECK] + [-0.115 * h, 0.02 * h], joints[NECK] + [0.115 * h, 0.02 * h]
    joints[R_HIP], joints[L_HIP] = hip - [0.065 * h, 0], hip + [0.065 * h, 0]
    for start, length, angles in (
        (R_SHOULDER, arm, stance.right_arm),
        (L_SHOULDER, arm, stance.left_arm),
        (R_HIP, leg, stance.right_leg),
        (L_HIP, leg, stance.left_leg),
    ):
        joints[start + 1] = joints[start] + _toward(angles[0]) * length
        joints[start + 2] = joints[start + 1] + _toward(angles[1]) * length
    center = joints[NECK] - [0, head * 0.98]
    joints[NOSE] = center + [0, head * 0.2]
    joints[R_EYE], joints[L_EYE] = center - [head * 0.38, head * 0.05], center + [head * 0.38, -head * 0.05]
    joints[R_EAR], joints[L_EAR] = center - [head * 0.92, 0], center + [head * 0.92, 0]
    return joints


def _legs(canvas: Canvas, joints: NDArray[np.float64], h: float, colors: tuple[Color, Color], depth: float) -> None:
    """Draws both legs and shoes; `colors` are trousers and shoes."""
    trousers, shoes = colors
    for hip in (R_HIP, L_HIP):
        knee, ankle = joints[hip + 1], joints[hip + 2]
        canvas.capsule(knee, ankle, h * 0.095, trousers, depth=depth, end_width=h * 0.085)
        canvas.capsule(joints[hip], knee, h * 0.115, trousers, depth=depth, end_width=h * 0.095)
        toe = -0.02 if hip == R_HIP else 0.02
        canvas.ellipse((ankle[0] + toe * h, ankle[1] + 0.01 * h), h * 0.062, h * 0.034, shoes, depth=depth)


def _arms(canvas: Canvas, joints: NDArray[np.float64], width: float, colors: tuple[Color, Color], depth: float) -> None:
    """Draws both arms over the torso; `colors` are sleeve and hand."""
    sleeve, hand = colors
    for shoulder in (R_SHOULDER, L_SHOULDER):
        elbow, wrist = joints[shoulder + 1], joints[shoulder + 2]
        canvas.ellipse((wrist[0], wrist[1]), width * 0.55, width * 0.55, hand, depth=depth)
        canvas.capsule(elbow, wrist, width * 0.95, sleeve, depth=depth, end_width=width * 0.85)
        canvas.capsule(joints[shoulder], elbow, width * 1.05, sleeve, depth=depth, end_width=width * 0.95)


def _torso(canvas: Canvas, joints: NDArray[np.float64], h: float, place: Place, *, has_dress: bool) -> None:
    neck, hip = joints[NECK], (joints[R_HIP] + joints[L_HIP]) / 2
    shoulder, waist, hem = 0.135 * h, 0.105 * h, 0.2 * h
    outline = [neck - [shoulder, -0.005 * h], neck + [shoulder, 0.005 * h]]
    if has_dress:
        outline += [hip + [waist, -0.07 * h], hip + [hem, 0.14 * h], hip + [-hem, 0.14 * h], hip + [-waist, -0.07 * h]]
    else:
        outline += [hip + [waist, 0.02 * h], hip + [-waist, 0.02 * h]]
    canvas.polygon(outline, place.color, depth=place.depth, shade="cylinder")


def _face(canvas: Canvas, joints: NDArray[np.float64], head: float, hair: Color, skin: Color, depth: float) -> None:
    x, y = ((joints[R_EAR] + joints[L_EAR]) / 2).tolist()
    canvas.ellipse((x, y), head * 0.94, head, skin, depth=depth)
    canvas.ellipse((x, y - head * 0.22), head * 1.04, head * 0.86, hair, depth=depth, arc=(180, 360))
    for eye in (R_EYE, L_EYE):
        canvas.dot((joints[eye][0], joints[eye][1] + head * 0.1), head * 0.13, (24, 22, 28))
    mouth = INK if canvas.style == "sketch" else (168, 60, 60)
    canvas.line([(x - head * 0.28, y + head * 0.5), (x, y + head * 0.6), (x + head * 0.28, y + head * 0.5)], mouth, 0.7)


def _draw_person(canvas: Canvas, place: Place, subject: Subject, rng: np.random.Generator) -> NDArray[np.float64]:
    h, depth = place.height, place.depth
    joints = make_skeleton(place, subject.pose, rng, is_astronaut=False)
    head = _head_radius(h, is_astronaut=False)
    skin = jitter(rng, SKIN_TONES[int(rng.integers(len(SKIN_TONES)))])
    hair, trousers = jitter(rng, HAIR_COLORS[subject.hair]), jitter(rng, COLORS[subject.trousers])
    if subject.is_woman:
        x, y = ((joints[R_EAR] + joints[L_EAR]) / 2).tolist()
        canvas.ellipse((x, y + head * 0.5), head * 1.2, head * 1.5, hair, depth=depth)
    legwear = skin if subject.has_dress else trousers
    _legs(canvas, joints, h, (legwear, darken(trousers, 0.5)), depth)
    canvas.capsule(joints[NECK] + [0, 0.02 * h], joints[NOSE], h * 0.07, skin, depth=depth)
    _torso(canvas, joints, h, place, has_dress=subject.has_dress)
    _arms(canvas, joints, h * 0.088, (place.color, skin), depth)
    _face(canvas, joints, head, hair, skin, depth)
    return joints


def _draw_astronaut(canvas: Canvas, place: Place, subject: Subject, rng: np.random.Generator) -> NDArray[np.float64]:
    h, depth, color = place.height, place.depth, place.color
    joints = make_skeleton(place, subject.pose, rng, is_astronaut=True)
    head = _head_radius(h, is_astronaut=True)
    x, neck = float(joints[NECK][0]), float(joints[NECK][1])
    canvas.rectangle((x - 0.19 * h, neck - 0.02 * h, x + 0.19 * h, neck + 0.2 * h), _PACK, depth=depth - 2)
    _legs(canvas, joints, h * 1.22, (color, _GLOVES), depth)
    _torso(canvas, joints, h * 1.12, place, has_dress=False)
    _arms(canvas, joints, h * 0.12, (color, _GLOVES), depth)
    canvas.rectangle((x - 0.07 * h, neck + 0.11 * h, x + 0.07 * h, neck + 0.2 * h), _PACK, shade="flat")
    y = float(joints[R_EAR][1])
    canvas.ellipse((x, y), head * 1.05, head, color, depth=depth)
    canvas.ellipse((x, y + head * 0.06), head * 0.78, head * 0.62, _VISOR, depth=depth)
    canvas.ellipse(
        (x - head * 0.3, y - head * 0.14), head * 0.2, head * 0.12, (150, 190, 236), shade="flat", outline=False
    )
    return joints


def draw_figure(canvas: Canvas, place: Place, subject: Subject, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws a person or astronaut and returns its joints, (18, 2), as fractions of the picture."""
    draw = _draw_astronaut if subject.name == "astronaut" else _draw_person
    return draw(canvas, place, subject, rng)


def draw_pose(skeletons: Sequence[NDArray[np.float64]], size: int, stick: int | None = None) -> NDArray[np.uint8]:
    """Returns skeletons the way OpenPose paints them: coloured sticks and joints on black, (size, size, 3).

    Args:
        skeletons: Joints, (18, 2), fractions of the picture.
        size: Width and height in pixels.
        stick: Half the width of a limb in pixels; by default 1 in 128, which is OpenPose's 4 in 512.
    """
    picture = np.zeros((size, size, 3), np.uint8)
    stick = stick or max(1, round(size / 128))
    for joints in skeletons:
        points = joints * size
        for (a, b), color in zip(LIMBS, POSE_COLORS, strict=False):
            middle, delta = (points[a] + points[b]) / 2, points[a] - points[b]
            length, angle = float(np.hypot(*delta)), math.degrees(math.atan2(delta[1], delta[0]))
            center = (round(float(middle[0])), round(float(middle[1])))
            bar = cv2.ellipse2Poly(center, (max(1, int(length / 2)), stick), int(angle), 0, 360, 10)
            cv2.fillConvexPoly(picture, np.asarray(bar), darken(color, 0.6))
        for point, color in zip(points, POSE_COLORS, strict=True):
            cv2.circle(picture, (round(float(point[0])), round(float(point[1]))), stick, color, -1)
    return picture
