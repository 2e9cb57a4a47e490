"""ParseNet: which pixels of an aligned face are face, so that hats, hair and background stay as they were.

Source: Chen et al., Progressive Semantic-Aware Style Transformation for Blind Face Restoration (2021); layer names and
numbers are those of the published weights parsing_parsenet.pth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipelines.checkpoints.files import read_state_dict
from pipelines.faces.align import FACE_SIZE, Pixels
from schema.errors import CheckpointError

WIDTHS = (64, 128, 256, 256, 256)
"""Channels at 512, 256, 128, 64 and 32 pixels."""

BODY_BLOCKS, CLASSES = 10, 19
NOT_FACE = (0, 14, 16, 17, 18)
"""Classes that are not put back: background, hat, necklace, neck, cloth."""

BLUR_SIGMA, BLUR_KERNEL, EDGE = 11.0, 101, 10
"""Of the mask, which is blurred twice; its outermost `EDGE` pixels are 0. Source: facexlib, FaceRestoreHelper."""


class FaceParser(Protocol):
    """Tells the pixels of a face from the others."""

    def mask(self, face: Pixels) -> NDArray[np.float32]:
        """How much each pixel of an aligned face (512, 512, 3) belongs to it: (512, 512) in [0, 1].

        Raises:
            CheckpointError: If the parser's file cannot be used.
        """
        ...


class _Conv(nn.Module):
    """A convolution of 3 pixels on a mirrored edge, before it an enlargement or at once a halving."""

    def __init__(self, inputs: int, outputs: int, *, scale: str = "none", is_normed: bool = False) -> None:
        super().__init__()
        self.is_enlarging = scale == "up"
        self.conv2d = nn.Conv2d(inputs, outputs, 3, 2 if scale == "down" else 1, bias=not is_normed)
        self.norm = nn.ModuleDict({"norm": nn.BatchNorm2d(outputs)} if is_normed else {})

    def forward(self, x: Tensor) -> Tensor:
        if self.is_enlarging:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.conv2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"))
        return self.norm["norm"](x) if "norm" in self.norm else x


class _Block(nn.Module):
    """A residual block that keeps, halves or doubles the size."""

    def __init__(self, inputs: int, outputs: int, scale: str = "none") -> None:
        super().__init__()
        first, second = ("up", "none") if scale == "up" else ("none", scale)
        keeps = scale == "none" and inputs == outputs
        self.shortcut_func = nn.Identity() if keeps else _Conv(inputs, outputs, scale=scale)
        self.conv1 = _Conv(inputs, outputs, scale=first, is_normed=True)
        self.conv2 = _Conv(outputs, outputs, scale=second, is_normed=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut_func(x) + self.conv2(functional.leaky_relu(self.conv1(x), 0.2))


class ParseNetNetwork(nn.Module):
    """Scores (B, 19, 512, 512) of each class for aligned faces (B, 3, 512, 512) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        steps = list(zip(WIDTHS, WIDTHS[1:], strict=False))
        self.encoder = nn.Sequential(
            _Conv(3, WIDTHS[0]), *(_Block(inputs, outputs, "down") for inputs, outputs in steps)
        )
        self.body = nn.Sequential(*(_Block(WIDTHS[-1], WIDTHS[-1]) for _ in range(BODY_BLOCKS)))
        self.decoder = nn.Sequential(*(_Block(outputs, inputs, "up") for inputs, outputs in reversed(steps)))
        # The weights hold a second output, a picture, which nothing here needs.
        self.out_img_conv = _Conv(WIDTHS[0], 3)
        self.out_mask_conv = _Conv(WIDTHS[0], CLASSES)

    def forward(self, faces: Tensor) -> Tensor:
        """The scores; see the class."""
        features = self.encoder(faces)
        return self.out_mask_conv(self.decoder(features + self.body(features)))


@dataclass(kw_only=True)
class ParseNet:
    """The parser of a weight file; read at the first use and kept until `unload`."""

    path: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _network: ParseNetNetwork | None = field(default=None, init=False, repr=False)

    def mask(self, face: Pixels) -> NDArray[np.float32]:
        """How much each pixel of an aligned face (512, 512, 3) belongs to it: (512, 512) in [0, 1]."""
        planes = torch.from_numpy(np.ascontiguousarray(face.transpose(2, 0, 1))).float()[None] / 127.5 - 1
        with torch.inference_mode():
            classes = self._load()(planes.to(self.device))[0].argmax(dim=0).cpu().numpy()
        return soften(~np.isin(classes, NOT_FACE))

    def unload(self) -> None:
        """Frees the network; the next use reads it again."""
        self._network = None

    def _load(self) -> ParseNetNetwork:
        if self._network is None:
            network = ParseNetNetwork()
            try:
                network.load_state_dict(read_state_dict(self.path))
            except RuntimeError as error:
                raise CheckpointError(f"'{self.path.name}' is not ParseNet.") from error
            self._network = network.to(self.device).eval()
        return self._network


def soften(is_face: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A mask with soft edges, (512, 512) in [0, 1], of the pixels that belong to a face."""
    mask = is_face.astype(np.float32)
    for _ in range(2):
        mask = cast(NDArray[np.float32], cv2.GaussianBlur(mask, (BLUR_KERNEL, BLUR_KERNEL), BLUR_SIGMA))
    inside = np.zeros((FACE_SIZE, FACE_SIZE), dtype=np.float32)
    inside[EDGE:-EDGE, EDGE:-EDGE] = mask[EDGE:-EDGE, EDGE:-EDGE]
    return inside
