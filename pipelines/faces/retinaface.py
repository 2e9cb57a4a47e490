"""RetinaFace: where faces are in a picture, with five landmarks each.

Source: Deng et al., RetinaFace: Single-stage Dense Face Localisation in the Wild (2020), with a ResNet-50; layer names
and numbers are those of the published weights detection_Resnet50_Final.pth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipelines.checkpoints.files import read_state_dict
from pipelines.faces.align import Face, Pixels
from preprocessors.torchvision_ops import ensure_torchvision
from schema.errors import CheckpointError

CHANNELS = 256
STRIDES = (8, 16, 32)
ANCHOR_SIZES = ((16, 32), (64, 128), (256, 512))
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
MEANS = (104.0, 117.0, 123.0)
"""Subtracted from blue, green, red."""

SHORT_SIDE = 640
"""Pixels to which a picture's shorter side is brought before faces are looked for."""

LEAST_SCORE, MOST_OVERLAP = 0.97, 0.4


class FaceDetector(Protocol):
    """Finds the faces of a picture."""

    def detect(self, pixels: Pixels) -> list[Face]:
        """The faces in `pixels` ((H, W, 3), RGB), surest first.

        Raises:
            CheckpointError: If the detector's file cannot be used.
        """
        ...


def _conv(inputs: int, outputs: int, kernel: int, *, is_active: bool = True) -> nn.Sequential:
    parts = [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([nn.ReLU()] if is_active else []))


class _Pyramid(nn.Module):
    """Features of three scales, each with what the coarser ones know."""

    def __init__(self) -> None:
        super().__init__()
        self.output1, self.output2, self.output3 = (_conv(inputs, CHANNELS, 1) for inputs in (512, 1024, 2048))
        self.merge1, self.merge2 = _conv(CHANNELS, CHANNELS, 3), _conv(CHANNELS, CHANNELS, 3)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.output1(fine), self.output2(middle), self.output3(coarse)
        middle = self.merge2(middle + functional.interpolate(coarse, size=middle.shape[-2:], mode="nearest"))
        fine = self.merge1(fine + functional.interpolate(middle, size=fine.shape[-2:], mode="nearest"))
        return fine, middle, coarse


class _Context(nn.Module):
    """A wider view at one scale: convolutions of 3, 5 and 7 pixels side by side."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter = CHANNELS // 2, CHANNELS // 4
        self.conv3X3 = _conv(CHANNELS, half, 3, is_active=False)
        self.conv5X5_1, self.conv5X5_2 = _conv(CHANNELS, quarter, 3), _conv(quarter, quarter, 3, is_active=False)
        self.conv7X7_2, self.conv7x7_3 = _conv(quarter, quarter, 3), _conv(quarter, quarter, 3, is_active=False)

    def forward(self, features: Tensor) -> Tensor:
        middle = self.conv5X5_1(features)
        wide = self.conv7x7_3(self.conv7X7_2(middle))
        return torch.cat([self.conv3X3(features), self.conv5X5_2(middle), wide], dim=1).relu()


class _Head(nn.Module):
    """`numbers` values for each of two anchors at each place."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.conv1x1 = nn.Conv2d(CHANNELS, 2 * numbers, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv1x1(features).permute(0, 2, 3, 1).reshape(features.shape[0], -1, self.numbers)


class RetinaFaceNetwork(nn.Module):
    """Boxes, scores and landmarks of every anchor."""

    def __init__(self) -> None:
        super().__init__()
        ensure_torchvision()
        from torchvision.models import resnet50

        self.body = cast(Any, resnet50(weights=None))
        self.body.fc = nn.Identity()
        self.fpn = _Pyramid()
        self.ssh1, self.ssh2, self.ssh3 = _Context(), _Context(), _Context()
        self.ClassHead = nn.ModuleList(_Head(2) for _ in STRIDES)
        self.BboxHead = nn.ModuleList(_Head(4) for _ in STRIDES)
        self.LandmarkHead = nn.ModuleList(_Head(10) for _ in STRIDES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets of boxes (B, N, 4), probability of a face (B, N), offsets of landmarks (B, N, 10)."""
        body = self.body
        features = body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(images)))))
        fine = body.layer2(features)
        middle = body.layer3(fine)
        levels = self.fpn(fine, middle, body.layer4(middle))
        seen = [context(level) for context, level in zip((self.ssh1, self.ssh2, self.ssh3), levels, strict=True)]
        boxes, classes, landmarks = (
            torch.cat([head(level) for head, level in zip(heads, seen, strict=True)], dim=1)
            for heads in (self.BboxHead, self.ClassHead, self.LandmarkHead)
        )
        return boxes, classes.softmax(dim=-1)[..., 1], landmarks


@dataclass(kw_only=True)
class RetinaFace:
    """The detector of a weight file; read at the first use and kept until `unload`."""

    path: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _network: RetinaFaceNetwork | None = field(default=None, init=False, repr=False)

    def detect(self, pixels: Pixels) -> list[Face]:
        """The faces in `pixels` ((H, W, 3), RGB), surest first."""
        height, width = pixels.shape[:2]
        scale = SHORT_SIDE / min(height, width)
        size = max(1, int(width * scale)), max(1, int(height * scale))
        image = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LANCZOS4), dtype=np.float32)
        planes = torch.from_numpy(np.ascontiguousarray((image[..., ::-1] - MEANS).transpose(2, 0, 1))).float()[None]
        with torch.inference_mode():
            boxes, scores, landmarks = self._load()(planes.to(self.device))
        return decode_faces(
            boxes[0].cpu().double().numpy(),
            scores[0].cpu().double().numpy(),
            landmarks[0].cpu().double().numpy(),
            size=size,
            factors=(width / size[0], height / size[1]),
        )

    def unload(self) -> None:
        """Frees the network; the next use reads it again."""
        self._network = None

    def _load(self) -> RetinaFaceNetwork:
        if self._network is None:
            weights = {name.removeprefix("module."): value for name, value in read_state_dict(self.path).items()}
            network = RetinaFaceNetwork()
            try:
                network.load_state_dict(weights)
            except RuntimeError as error:
                raise CheckpointError(f"'{self.path.name}' is not RetinaFace with a ResNet-50.") from error
            self._network = network.to(self.device).eval()
        return self._network


def decode_faces(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    landmarks: NDArray[np.float64],
    *,
    size: tuple[int, int],
    factors: tuple[float, float] = (1.0, 1.0),
) -> list[Face]:
    """The faces that the network's numbers mean, surest first, each once.

    Args:
        boxes, scores, landmarks: (N, 4), (N,) and (N, 10), for the anchors of `anchors(*size)`.
        size: (width, height) of what the network saw.
        factors: From there to the picture, for x and y.
    """
    places = anchors(*size)
    sure = np.flatnonzero(scores > LEAST_SCORE)
    sure = sure[np.argsort(-scores[sure], kind="stable")]
    places, boxes, landmarks, scores = places[sure], boxes[sure], landmarks[sure], scores[sure]
    centres = places[:, :2] + boxes[:, :2] * CENTRE_VARIANCE * places[:, 2:]
    half = places[:, 2:] * np.exp(boxes[:, 2:] * SIZE_VARIANCE) / 2
    points = places[:, None, :2] + landmarks.reshape(-1, 5, 2) * CENTRE_VARIANCE * places[:, None, 2:]
    scale = np.array(size, dtype=np.float64) * factors
    corners = np.concatenate([(centres - half) * scale, (centres + half) * scale], axis=1)
    return [Face(landmarks=points[index] * scale, score=float(scores[index])) for index in _distinct(corners)]


def anchors(width: int, height: int) -> NDArray[np.float64]:
    """Centre and size (N, 4) of every anchor, in fractions of a picture of that size."""
    found: list[NDArray[np.float64]] = []
    for stride, sizes in zip(STRIDES, ANCHOR_SIZES, strict=True):
        rows, columns = np.mgrid[0 : -(-height // stride), 0 : -(-width // stride)]
        centres = np.stack([(columns + 0.5) * stride / width, (rows + 0.5) * stride / height], axis=-1)
        sides = np.array([[side / width, side / height] for side in sizes])
        shape = (*centres.shape[:2], len(sizes), 2)
        both = [np.broadcast_to(centres[:, :, None], shape), np.broadcast_to(sides, shape)]
        found.append(np.concatenate(both, axis=-1).reshape(-1, 4))
    return np.concatenate(found)


def _distinct(corners: NDArray[np.float64]) -> list[int]:
    """Indices of the boxes (N, 4), best first, that overlap no better one by more than `MOST_OVERLAP`.

    Our own: the compiled operator of torchvision is missing beside some builds of torch.
    """
    kept: list[int] = []
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    for index in range(len(corners)):
        low = np.maximum(corners[kept, :2], corners[index, :2])
        high = np.minimum(corners[kept, 2:], corners[index, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        union = areas[kept] + areas[index] - shared
        if not np.any(shared > MOST_OVERLAP * union):
            kept.append(index)
    return kept
