"""Depth and poses of simple scenes by the two small networks that ship with the program."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from preprocessors.base import ControlMap, Pixels, Preprocessor, Work
from preprocessors.geometry import at_resolution, padded
from preprocessors.mini_networks import HEATMAP_STRIDE, KEYPOINTS, NATIVE_SIDE, MiniDepth, MiniPose
from preprocessors.openpose import pose_map
from preprocessors.poses import Person, Point
from preprocessors.tensors import loaded, resized, to_bytes, to_floats, to_tensor
from preprocessors.weights import WeightFile

_MULTIPLE = 8
_LICENCE = "Apache-2.0"

DEPTH = WeightFile(folder="mini", name="depth_mini.safetensors", repo="", size_bytes=4_858_000, licence=_LICENCE)
POSE = WeightFile(folder="mini", name="openpose_mini.safetensors", repo="", size_bytes=4_835_000, licence=_LICENCE)

_SURE_OF_PERSON = 0.3
_SURE_OF_POINT = 0.25
_MOST_PEOPLE = 8
_FEWEST_POINTS = 4
_NEIGHBOURHOOD = 5


def depth_mini(work: Work) -> Pixels:
    """Inverse depth: white is near."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        return loaded(MiniDepth(), tensors)

    network = work.runtime.network("depth_mini", [DEPTH], build)
    assert isinstance(network, MiniDepth)
    pixels = at_resolution(work.image, work.resolution)
    seen, height, width = _as_trained(pixels, work.runtime.device)
    near = to_floats(network.predict(seen)[0, 0, :height, :width])
    return to_bytes(resized(near, pixels.shape[0], pixels.shape[1]))


def openpose_mini(work: Work) -> ControlMap:
    """Bodies of the people in a picture."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        return loaded(MiniPose(), tensors)

    network = work.runtime.network("openpose_mini", [POSE], build)
    assert isinstance(network, MiniPose)
    picture = padded(work.image, work.resolution)
    seen, height, width = _as_trained(picture.cut(picture.pixels), work.runtime.device)
    heatmaps, ways = network.predict(seen)
    scale_x, scale_y = picture.width / width, picture.height / height
    people = [
        Person(body=tuple(None if point is None else (point[0] * scale_x, point[1] * scale_y) for point in body))
        for body in people_of(heatmaps[0].cpu(), ways[0].cpu())
    ]
    return pose_map(picture, people)


def _as_trained(pixels: Pixels, device: torch.device) -> tuple[Tensor, int, int]:
    """(1, 3, H, W) in 0..1 with the short side the networks know, padded to multiples of 8; height and width of it
    that are picture."""
    small = at_resolution(pixels, NATIVE_SIDE)
    height, width = small.shape[:2]
    tensor = to_tensor(small, device) / 255
    return F.pad(tensor, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), mode="replicate"), height, width


def people_of(heatmaps: Tensor, ways: Tensor) -> list[list[Point | None]]:
    """The 18 points of each person that `MiniPose` saw, in pixels of the picture it was given.

    Args:
        heatmaps: (19, h, w) in 0..1, the centres of people last.
        ways: (2, h, w), in cells.

    Returns:
        People, the surest first; at most 8, each with at least 4 points.
    """
    centres = _peaks(heatmaps[KEYPOINTS], _SURE_OF_PERSON)[:_MOST_PEOPLE]
    people: list[list[Point | None]] = [[None] * KEYPOINTS for _ in centres]
    if not centres:
        return []
    places = np.array([(x, y) for x, y, _ in centres])
    for index in range(KEYPOINTS):
        for x, y, _ in _peaks(heatmaps[index], _SURE_OF_POINT):
            way = ways[:, round(y), round(x)].numpy()
            owner = int(np.hypot(*(places - (x + way[0], y + way[1])).T).argmin())
            # Peaks come surest first: the first one stays.
            if people[owner][index] is None:
                offset = (HEATMAP_STRIDE - 1) / 2
                people[owner][index] = (x * HEATMAP_STRIDE + offset, y * HEATMAP_STRIDE + offset)
    return [person for person in people if sum(point is not None for point in person) >= _FEWEST_POINTS]


def _peaks(heatmap: Tensor, surer_than: float) -> list[tuple[float, float, float]]:
    """x, y in cells and height of a map's peaks, the highest first; between cells by a parabola through three."""
    highest = F.max_pool2d(heatmap[None, None], _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2)[0, 0]
    rows, columns = torch.nonzero((heatmap == highest) & (heatmap > surer_than), as_tuple=True)
    values = heatmap.numpy()
    found = [
        (
            x + _beside(values[y, max(0, x - 1) : x + 2]),
            y + _beside(values[max(0, y - 1) : y + 2, x]),
            float(values[y, x]),
        )
        for y, x in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    return sorted(found, key=lambda peak: -peak[2])


def _beside(three: np.ndarray) -> float:
    """How far beside the middle one of three equally spaced values their parabola is highest, -0.5 to 0.5."""
    if len(three) < 3:
        return 0.0
    # A Gaussian's logarithm is a parabola.
    left, middle, right = np.log(np.maximum(three.astype(np.float64), 1e-6))
    curve = left - 2 * middle + right
    return float(np.clip((left - right) / (2 * curve), -0.5, 0.5)) if curve < -1e-9 else 0.0


PREPROCESSORS = (
    Preprocessor(
        name="depth_mini",
        label="Depth (shipped, simple scenes)",
        types=("Depth",),
        run=depth_mini,
        priority=-1,
        weights=(DEPTH,),
        is_mini=True,
    ),
    Preprocessor(
        name="openpose_mini",
        label="OpenPose (shipped, simple figures)",
        types=("OpenPose",),
        run=openpose_mini,
        priority=-1,
        weights=(POSE,),
        is_mini=True,
    ),
)
