"""Poses of people by OpenPose: bodies, hands and faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from preprocessors.base import ControlMap, Pixels, Preprocessor, Run, Work
from preprocessors.geometry import Padded, padded
from preprocessors.pose_drawing import draw_poses
from preprocessors.poses import BODY_POINTS, FACE_POINTS, Person, Point, Points, Poses
from preprocessors.providers import provider
from preprocessors.tensors import loaded
from preprocessors.weights import WeightFile


def _file(name: str, size_bytes: int, sha256: str) -> WeightFile:
    return WeightFile(
        folder="openpose",
        name=name,
        repo="lllyasviel/Annotators",
        size_bytes=size_bytes,
        sha256=sha256,
        licence="non-commercial (CMU OpenPose)",
    )


BODY = _file("body_pose_model.pth", 209_267_595, "25a948c16078b0f08e236bda51a385d855ef4c153598947c28c0d47ed94bb746")
HAND = _file("hand_pose_model.pth", 147_341_049, "b76b00d1750901abd07b9f9d8c98cc3385b8fe834a26d4b4f0aad439e75fc600")
FACE = _file("facenet.pth", 153_718_792, "8beb52e548624ffcc4aed12af7aee7dcbfaeea420c75609fee999fe7add79d43")

_SMALLEST_BOX = 20


def openpose(*, body: bool = True, hands: bool = False, face: bool = False) -> Run:
    """A preprocessor that finds people and draws the parts asked for; bodies are found in any case."""

    def run(work: Work) -> ControlMap:
        picture = padded(work.image, work.resolution)
        people = [
            _with_parts(work, picture.pixels, points, hands=hands, face=face)
            for points in _bodies(work, picture.pixels)
        ]
        return pose_map(picture, people, body=body, hands=hands, face=face)

    return run


def pose_map(
    picture: Padded, people: Sequence[Person], *, body: bool = True, hands: bool = True, face: bool = True
) -> ControlMap:
    """The map and JSON of people whose points are in pixels of `picture`; points in its padding are dropped."""

    def relative(points: Points) -> Points:
        return tuple(
            (point[0] / picture.width, point[1] / picture.height)
            if point is not None and 0 <= point[0] < picture.width and 0 <= point[1] < picture.height
            else None
            for point in points
        )

    poses = Poses(
        width=picture.width,
        height=picture.height,
        people=tuple(
            Person(
                body=relative(person.body),
                face=relative(person.face),
                left_hand=relative(person.left_hand),
                right_hand=relative(person.right_hand),
            )
            for person in people
        ),
    )
    return ControlMap(image=draw_poses(poses, body=body, hands=hands, face=face), poses=poses.to_json())


def _bodies(work: Work, pixels: Pixels) -> list[Points]:
    """The 18 points of each person, in pixels."""
    estimator = _estimator(work, "body", BODY)
    candidates, subset = estimator(_bgr(pixels))
    return [
        tuple(None if point is None else (float(point.x), float(point.y)) for point in result.keypoints)
        for result in estimator.format_body_result(candidates, subset)
    ]


def _with_parts(work: Work, pixels: Pixels, body: Points, *, hands: bool, face: bool) -> Person:
    return Person(
        body=body,
        left_hand=_hand(work, pixels, body, shoulder=5) if hands else (),
        right_hand=_hand(work, pixels, body, shoulder=2) if hands else (),
        face=_face(work, pixels, body) if face else (),
    )


def _hand(work: Work, pixels: Pixels, body: Points, *, shoulder: int) -> Points:
    """21 points of the hand at the arm that begins at body point `shoulder`; none where the arm is not seen."""
    box = hand_box(body, shoulder, width=pixels.shape[1], height=pixels.shape[0])
    if box is None:
        return ()
    x, y, side = box
    peaks = _estimator(work, "hand", HAND)(_bgr(pixels[y : y + side, x : x + side]))
    return tuple(_placed(peak, x, y) for peak in np.asarray(peaks, np.float64))


def _face(work: Work, pixels: Pixels, body: Points) -> Points:
    """Up to 70 points of the face; none where the head is not seen."""
    box = face_box(body, width=pixels.shape[1], height=pixels.shape[0])
    if box is None:
        return ()
    x, y, side = box
    estimator = _estimator(work, "face", FACE)
    # The last of the 71 maps is the background.
    heatmaps = estimator(_bgr(pixels[y : y + side, x : x + side]))[:FACE_POINTS]
    peaks = estimator.compute_peaks_from_heatmaps(heatmaps)
    return tuple(_placed(peak, x, y) for peak in np.asarray(peaks, np.float64).reshape(-1, 2))


def _placed(peak: np.ndarray, x: int, y: int) -> Point | None:
    """A peak within a box whose corner is x, y; the networks answer 0 for a coordinate they did not find."""
    return (float(peak[0]) + x, float(peak[1]) + y) if peak.min() >= 1e-6 else None


def hand_box(body: Points, shoulder: int, *, width: int, height: int) -> tuple[int, int, int] | None:
    """x, y and side of the square that should hold a hand, or None.

    Its middle lies a third of the forearm beyond the wrist, its side is one and a half forearms (or 0.9 upper arms).

    Source: OpenPose src/openpose/hand/handDetector.cpp.
    """
    arm = body[shoulder : shoulder + 3]
    if len(arm) < 3 or arm[0] is None or arm[1] is None or arm[2] is None:
        return None
    (x1, y1), (x2, y2), (x3, y3) = arm[0], arm[1], arm[2]
    side = 1.5 * max(math.hypot(x3 - x2, y3 - y2), 0.9 * math.hypot(x2 - x1, y2 - y1))
    left = max(0.0, x3 + 0.33 * (x3 - x2) - side / 2)
    top = max(0.0, y3 + 0.33 * (y3 - y2) - side / 2)
    return _box(left, top, min(side, width - left, height - top))


def face_box(body: Points, *, width: int, height: int) -> tuple[int, int, int] | None:
    """x, y and side of the square that should hold a face, or None; as wide as eyes and ears are far from the nose.

    Source: sd-webui-controlnet annotator/openpose/util.py, faceDetect.
    """
    nose = body[0] if len(body) == BODY_POINTS else None
    if nose is None:
        return None
    reach = 0.0
    for index, factor in ((14, 3.0), (15, 3.0), (16, 1.5), (17, 1.5)):
        point = body[index]
        if point is not None:
            reach = max(reach, factor * max(abs(nose[0] - point[0]), abs(nose[1] - point[1])))
    left, top = max(0.0, nose[0] - reach), max(0.0, nose[1] - reach)
    across = 2 * reach if left + reach <= width else width - left
    down = 2 * reach if top + reach <= height else height - top
    return _box(left, top, min(across, down))


def _box(left: float, top: float, side: float) -> tuple[int, int, int] | None:
    return (int(left), int(top), int(side)) if side >= _SMALLEST_BOX else None


def _bgr(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _estimator(work: Work, part: str, file: WeightFile) -> Any:
    """controlnet_aux's estimator of a part around our network; its own loading code is passed over."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        networks = {
            "body": ("controlnet_aux.open_pose.model", "bodypose_model"),
            "hand": ("controlnet_aux.open_pose.model", "handpose_model"),
            "face": ("controlnet_aux.open_pose.face", "FaceNet"),
        }
        module, name = networks[part]
        network: nn.Module = getattr(provider(module), name)()
        if part == "face":
            return loaded(network, tensors)
        # The files name layers without the sub-network they are in.
        return loaded(network, {wanted: tensors[wanted.partition(".")[2]] for wanted in network.state_dict()})

    estimator_class = getattr(provider(f"controlnet_aux.open_pose.{part}"), part.capitalize())
    estimator = estimator_class.__new__(estimator_class)
    estimator.model = work.runtime.network(f"openpose {part}", [file], build)
    return estimator


_TYPES = ("OpenPose",)

PREPROCESSORS = (
    Preprocessor(
        name="openpose_full",
        types=_TYPES,
        run=openpose(hands=True, face=True),
        priority=100,
        weights=(BODY, HAND, FACE),
        provider="controlnet-aux",
    ),
    Preprocessor(name="openpose", types=_TYPES, run=openpose(), weights=(BODY,), provider="controlnet-aux"),
    Preprocessor(
        name="openpose_hand", types=_TYPES, run=openpose(hands=True), weights=(BODY, HAND), provider="controlnet-aux"
    ),
    Preprocessor(
        name="openpose_face", types=_TYPES, run=openpose(face=True), weights=(BODY, FACE), provider="controlnet-aux"
    ),
    Preprocessor(
        name="openpose_faceonly",
        types=_TYPES,
        run=openpose(body=False, face=True),
        weights=(BODY, FACE),
        provider="controlnet-aux",
    ),
)
