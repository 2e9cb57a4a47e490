"""Poses of people and animals, and OpenPose's JSON of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from schema.errors import InvalidRequest

Point = tuple[float, float]
"""x and y: 0..1 of the canvas, or pixels where a coordinate of the same list is above 1."""

Points = tuple[Point | None, ...]
"""Points in a fixed order; None for those that were not found."""

BODY_POINTS = 18
HAND_POINTS = 21
FACE_POINTS = 70
ANIMAL_POINTS = 17

_MOST_PIXELS = 8192


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person; a part is empty where it was not looked for or not found.

    Attributes:
        body: 18 points: nose, neck, right shoulder, elbow, wrist, the left ones, right hip, knee, ankle, the left
            ones, right eye, left eye, right ear, left ear.
        face: Up to 70 points.
        left_hand: 21 points: wrist, then four for each finger from the thumb on.
    """

    body: Points = ()
    face: Points = ()
    left_hand: Points = ()
    right_hand: Points = ()


@dataclass(frozen=True, kw_only=True)
class Poses:
    """All that was found on a canvas of `width` by `height` pixels; animals have the 17 points of AP-10K."""

    width: int
    height: int
    people: tuple[Person, ...] = ()
    animals: tuple[Points, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """OpenPose's JSON: flat lists of x, y, 1 for each point and 0, 0, 0 for missing ones; null for no part.

        Source: OpenPose doc/02_output.md; sd-webui-controlnet annotator/openpose, encode_poses_as_json.
        """
        made: dict[str, Any] = {
            "people": [
                {
                    "pose_keypoints_2d": _flat(person.body),
                    "face_keypoints_2d": _flat(person.face),
                    "hand_left_keypoints_2d": _flat(person.left_hand),
                    "hand_right_keypoints_2d": _flat(person.right_hand),
                }
                for person in self.people
            ],
            "animals": [_flat(animal) for animal in self.animals],
            "canvas_height": self.height,
            "canvas_width": self.width,
        }
        return made

    @classmethod
    def from_json(cls, value: object) -> Poses:
        """The poses that OpenPose's JSON describes; parts may be missing or null.

        Raises:
            InvalidRequest: If it is not such JSON; the message names the field.
        """
        if not isinstance(value, dict):
            raise InvalidRequest("A pose must be a JSON object with people, canvas_width and canvas_height.")
        fields = cast(dict[str, object], value)
        people = [_fields(person, f"people[{index}]") for index, person in enumerate(_list(fields, "people"))]
        return cls(
            width=_side(fields, "canvas_width"),
            height=_side(fields, "canvas_height"),
            people=tuple(
                Person(
                    body=_points(person.get("pose_keypoints_2d"), "pose_keypoints_2d", BODY_POINTS),
                    face=_points(person.get("face_keypoints_2d"), "face_keypoints_2d", FACE_POINTS),
                    left_hand=_points(person.get("hand_left_keypoints_2d"), "hand_left_keypoints_2d", HAND_POINTS),
                    right_hand=_points(person.get("hand_right_keypoints_2d"), "hand_right_keypoints_2d", HAND_POINTS),
                )
                for person in people
            ),
            animals=tuple(_points(animal, "animals", ANIMAL_POINTS) for animal in _list(fields, "animals")),
        )


def in_pixels(points: Sequence[Point | None], width: int, height: int) -> list[Point | None]:
    """`points` in pixels: multiplied by the canvas's size unless one of their coordinates is above 1.

    Source: sd-webui-controlnet annotator/openpose/util.py, is_normalized.
    """
    if any(point is not None and max(abs(point[0]), abs(point[1])) > 1 for point in points):
        return list(points)
    return [None if point is None else (point[0] * width, point[1] * height) for point in points]


def _flat(points: Points) -> list[float] | None:
    if not points:
        return None
    return [value for point in points for value in ((0.0, 0.0, 0.0) if point is None else (*point, 1.0))]


def _points(value: object, name: str, most: int) -> Points:
    """Points of a flat list of x, y and confidence; a confidence below 1 means a missing point."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidRequest(f"{name} must be a list of x, y and confidence for each point, or null.")
    numbers = cast(list[object], value)
    if len(numbers) % 3 or len(numbers) > 3 * most:
        raise InvalidRequest(f"{name} has {len(numbers)} numbers; it needs three for each of at most {most} points.")
    if not all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in numbers
    ):
        raise InvalidRequest(f"{name} must hold numbers only.")
    flat = cast(list[float], numbers)
    return tuple(
        (float(x), float(y)) if sure >= 1 else None
        for x, y, sure in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    )


def _list(fields: dict[str, object], name: str) -> list[object]:
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequest(f"{name} of a pose must be a list.")
    return cast(list[object], value)


def _fields(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} of a pose must be an object.")
    return cast(dict[str, object], value)


def _side(fields: dict[str, object], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= _MOST_PIXELS:
        raise InvalidRequest(f"{name} of a pose must be a number of pixels from 1 to {_MOST_PIXELS}.")
    return int(value)
