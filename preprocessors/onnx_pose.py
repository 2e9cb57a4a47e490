"""Poses by DWPose (people) and RTMPose (animals): published as ONNX files, run by OpenCV on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from torch import nn

from preprocessors.base import ControlMap, Pixels, Preprocessor, Work
from preprocessors.geometry import padded
from preprocessors.openpose import pose_map
from preprocessors.pose_drawing import draw_poses
from preprocessors.poses import Person, Point, Points, Poses
from preprocessors.tensors import IMAGENET_DEVIATION, IMAGENET_MEAN
from preprocessors.weights import WeightFile
from schema.errors import CheckpointError

Floats = npt.NDArray[np.float32]

DETECTOR = WeightFile(
    folder="openpose",
    name="yolox_l.onnx",
    repo="yzd-v/DWPose",
    size_bytes=216_746_733,
    sha256="7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
    licence="Apache-2.0",
)
WHOLE_BODY = WeightFile(
    folder="openpose",
    name="dw-ll_ucoco_384.onnx",
    repo="yzd-v/DWPose",
    size_bytes=134_399_116,
    sha256="724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
    licence="Apache-2.0",
)
_AP10K = "rtmpose-m_simcc-ap10k_pt-aic-coco_210e-256x256-7a041aa1_20230206.onnx"
ANIMALS = WeightFile(
    folder="openpose",
    name=_AP10K,
    file=f"Annotators/{_AP10K}",
    repo="bdsqlsz/qinglong_controlnet-lllite",
    licence="Apache-2.0",
)

_PERSON = (0,)
_ANIMAL = tuple(range(14, 24))
_DETECTOR_SIDE = 640
_GREY = 114
_STRIDES = (8, 16, 32)
_OVERLAP = 0.45
_SURE_OF_BOX = 0.3
_SURE_OF_POINT = 0.3
_MARGIN = 1.25
_BINS_PER_PIXEL = 2

# OpenPose's 18 body points, by their places among COCO's 17; the neck, second, is between the shoulders.
_BODY = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_LEFT_SHOULDER, _RIGHT_SHOULDER = 5, 6
_FACE = slice(23, 91)
_LEFT_HAND = slice(91, 112)
_RIGHT_HAND = slice(112, 133)


class OnnxNetwork(nn.Module):
    """A network that OpenCV runs; the device it is moved to does not matter."""

    def __init__(self, path: str) -> None:
        super().__init__()
        try:
            self._network = cv2.dnn.readNetFromONNX(path)
        except cv2.error as error:
            raise CheckpointError(f"'{path}' is not an ONNX network that OpenCV can run: {error.msg}.") from error

    def forward(self, values: Floats) -> list[Floats]:
        """All outputs for `values`, in the order of the file."""
        self._network.setInput(np.ascontiguousarray(values, np.float32))
        outputs = self._network.forward(self._network.getUnconnectedOutLayersNames())
        return [np.asarray(output, np.float32) for output in cast(Sequence[Floats], outputs)]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float


def dw_openpose(work: Work) -> ControlMap:
    """Bodies, hands and faces of people."""
    picture = padded(work.image, work.resolution)
    boxes = _boxes(work, picture.pixels, _PERSON)
    network = _network(work, WHOLE_BODY)
    people = [
        person_of(*located(network, picture.pixels, box, width=288, height=384))
        # Without a box the whole picture is taken for one person.
        for box in boxes or [_whole(picture.pixels)]
    ]
    return pose_map(picture, people)


def animal_openpose(work: Work) -> ControlMap:
    """Skeletons of animals."""
    picture = padded(work.image, work.resolution)
    network = _network(work, ANIMALS)
    animals: list[Points] = []
    for box in _boxes(work, picture.pixels, _ANIMAL):
        points, _ = located(network, picture.pixels, box, width=256, height=256)
        within = (points > 0) & (points < np.array([picture.width, picture.height]))
        inside = within[:, 0] & within[:, 1]
        animals.append(
            tuple(
                (float(x) / picture.width, float(y) / picture.height) if seen else None
                for (x, y), seen in zip(points, inside, strict=True)
            )
        )
    poses = Poses(width=picture.width, height=picture.height, animals=tuple(animals))
    return ControlMap(image=draw_poses(poses), poses=poses.to_json())


def _network(work: Work, file: WeightFile) -> OnnxNetwork:
    return work.runtime.kept(file.place, lambda: OnnxNetwork(str(work.runtime.weights.paths([file])[0])))


def _whole(pixels: Pixels) -> Box:
    return Box(left=0, top=0, right=pixels.shape[1], bottom=pixels.shape[0])


def _boxes(work: Work, pixels: Pixels, classes: Sequence[int]) -> list[Box]:
    """Where YOLOX sees objects of `classes`, the surest of each class first."""
    factor = min(_DETECTOR_SIDE / pixels.shape[0], _DETECTOR_SIDE / pixels.shape[1])
    small = cv2.resize(pixels, (int(pixels.shape[1] * factor), int(pixels.shape[0] * factor)))
    canvas = np.full((_DETECTOR_SIDE, _DETECTOR_SIDE, 3), _GREY, np.float32)
    canvas[: small.shape[0], : small.shape[1]] = small
    answer = _network(work, DETECTOR)(canvas.transpose(2, 0, 1)[None])[0][0]
    return boxes_of(answer, factor, classes)


def boxes_of(answer: Floats, factor: float, classes: Sequence[int]) -> list[Box]:
    """The boxes in YOLOX's answer.

    Args:
        answer: (8400, 85): for each cell of three grids over 640 by 640 pixels the middle's offset and the logarithm
            of the size, both in cells; how sure it is of an object; how sure of each of COCO's 80 classes.
        factor: By what the picture was multiplied to fit into 640 by 640.

    Source: Ge et al., "YOLOX", 2021, and the decoding of its ONNX demonstration.
    """
    grids = [np.mgrid[: _DETECTOR_SIDE // s, : _DETECTOR_SIDE // s][::-1].reshape(2, -1).T for s in _STRIDES]
    cells = np.concatenate(grids)
    strides = np.concatenate([np.full((len(grid), 1), s) for grid, s in zip(grids, _STRIDES, strict=True)])
    middles = (answer[:, :2] + cells) * strides / factor
    sizes = np.exp(answer[:, 2:4]) * strides / factor
    corners = middles - sizes / 2
    found: list[Box] = []
    for index in classes:
        scores = answer[:, 4] * answer[:, 5 + index]
        kept = cv2.dnn.NMSBoxes(
            np.concatenate([corners, sizes], axis=1).tolist(), scores.tolist(), _SURE_OF_BOX, _OVERLAP
        )
        for place in np.asarray(kept, np.int64).flatten():
            (x, y), (width, height) = corners[place].tolist(), sizes[place].tolist()
            found.append(Box(left=x, top=y, right=x + width, bottom=y + height))
    return found


def located(network: OnnxNetwork, pixels: Pixels, box: Box, *, width: int, height: int) -> tuple[Floats, Floats]:
    """The points of what is in a box: (N, 2) x and y in pixels, and (N,) how sure the network is of each.

    Args:
        width: Of the network's input, likewise `height`; the box is widened to its shape and by a quarter.

    Source: Jiang et al., "RTMPose", 2023: a row of half-pixel bins for each coordinate.
    """
    middle = np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])
    size = np.array([box.right - box.left, box.bottom - box.top]) * _MARGIN
    across = max(size[0], size[1] * width / height)
    size = np.array([across, across * height / width])
    factor = width / across
    shift = np.array([width, height]) / 2 - middle * factor
    matrix = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
    cut = np.asarray(cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR), np.float32)
    cut = (cut / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_DEVIATION)
    rows_x, rows_y = network(cut.transpose(2, 0, 1)[None].astype(np.float32))
    bins = np.stack([rows_x[0].argmax(axis=1), rows_y[0].argmax(axis=1)], axis=1)
    sure = np.minimum(rows_x[0].max(axis=1), rows_y[0].max(axis=1))
    points = bins / _BINS_PER_PIXEL / np.array([width, height]) * size + middle - size / 2
    points[sure <= 0] = -1
    return points.astype(np.float32), sure


def person_of(points: Floats, sure: Floats) -> Person:
    """A person from the 133 points of COCO-WholeBody, (133, 2), and how sure each is, (133,).

    Source: sd-webui-controlnet annotator/openpose/wholebody.py.
    """
    found: list[Point | None] = [
        (float(x), float(y)) if certain >= _SURE_OF_POINT else None
        for (x, y), certain in zip(points, sure, strict=True)
    ]
    left, right = found[_LEFT_SHOULDER], found[_RIGHT_SHOULDER]
    neck = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2) if left and right else None
    body = tuple(neck if index is None else found[index] for index in _BODY)
    face = _part(found[_FACE])
    return Person(
        body=body,
        # OpenPose's face has 70 points: the last two are the eyes.
        face=(*face, body[14], body[15]) if face else (),
        left_hand=_part(found[_LEFT_HAND]),
        right_hand=_part(found[_RIGHT_HAND]),
    )


def _part(points: Sequence[Point | None]) -> Points:
    return tuple(points) if any(point is not None for point in points) else ()


PREPROCESSORS = (
    Preprocessor(
        name="dw_openpose_full",
        types=("OpenPose",),
        run=dw_openpose,
        weights=(DETECTOR, WHOLE_BODY),
        provider="OpenCV (ONNX)",
    ),
    Preprocessor(
        name="animal_openpose",
        types=("OpenPose",),
        run=animal_openpose,
        weights=(DETECTOR, ANIMALS),
        provider="OpenCV (ONNX)",
    ),
)
