"""Pictures as tensors and back, and small formulas that several networks' maps need."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from preprocessors.base import Pixels

Floats = npt.NDArray[np.float32]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def to_tensor(pixels: Pixels, device: torch.device) -> Tensor:
    """(1, C, H, W) float32 in 0..255 of (H, W, C) or (H, W) pixels."""
    planes = pixels if pixels.ndim == 3 else pixels[:, :, None]
    return torch.from_numpy(np.ascontiguousarray(planes)).to(device).float().permute(2, 0, 1)[None]


def normalized(
    picture: Tensor,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    deviation: tuple[float, ...] = IMAGENET_DEVIATION,
) -> Tensor:
    """`picture`, (B, 3, H, W) in 0..1, with each channel's mean taken off and divided by its deviation."""
    shape = (1, 3, 1, 1)
    return (picture - picture.new_tensor(mean).view(shape)) / picture.new_tensor(deviation).view(shape)


def to_floats(tensor: Tensor) -> Floats:
    """`tensor` as a float32 array of the same shape, on the CPU."""
    return tensor.detach().float().cpu().numpy()


def to_bytes(values: npt.NDArray[np.floating | np.bool_]) -> Pixels:
    """uint8 of values in 0..1, cut off outside."""
    return (values * 255.0).clip(0, 255).astype(np.uint8)


def resized(values: Floats, height: int, width: int, interpolation: int = cv2.INTER_LINEAR) -> Floats:
    """`values`, (h, w) or (h, w, C), at another size."""
    return np.asarray(cv2.resize(values, (width, height), interpolation=interpolation), np.float32)


def stretched(values: Floats) -> Floats:
    """`values` shifted and scaled to 0..1; zeros where all are equal."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-6)


def in_steps(values: npt.NDArray[np.floating], steps: int) -> npt.NDArray[np.floating]:
    """`values` in 0..1 cut to multiples of 1/steps: the "safe" maps that hide no picture in faint shades.

    Source: ControlNet annotator/util.py, safe_step.
    """
    return (values * (steps + 1)).astype(np.int32).astype(np.float32) / steps


def scribbled(edges: Pixels) -> Pixels:
    """Black-and-white strokes along the ridges of a soft edge map, (H, W).

    Source: sd-webui-controlnet scripts/processor.py, scribble_hed.
    """
    blurred = np.asarray(cv2.GaussianBlur(edges.astype(np.float32), (0, 0), 3), np.float32)
    ridges = np.zeros_like(blurred)
    for line in _LINES:
        ridge = np.asarray(cv2.dilate(blurred, line), np.float32) == blurred
        ridges[ridge] = blurred[ridge]
    strokes = np.where(ridges > 127, 255, 0).astype(np.uint8)
    widened = np.asarray(cv2.GaussianBlur(strokes, (0, 0), 3), np.uint8)
    return np.where(widened > 4, 255, 0).astype(np.uint8)


_DIAGONAL = np.eye(3, dtype=np.uint8)
_MIDDLE = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]], np.uint8)
_LINES = (_MIDDLE, _MIDDLE.T.copy(), _DIAGONAL, _DIAGONAL[:, ::-1].copy())
"""The four directions across which a pixel has to be the brightest to lie on a ridge."""


def loaded(network: nn.Module, tensors: Mapping[str, Tensor], *, prefix: str = "module.") -> nn.Module:
    """`network` with `tensors` in it, as float32; `prefix` is taken off their names.

    Raises:
        RuntimeError: If names or shapes differ.
    """
    network.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return network.float()
