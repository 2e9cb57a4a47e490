"""The network that segments anime faces: a U-Net on MobileNetV2.

Source: siyeong0/Anime-Face-Segmentation, network.py: layers, widths and the names of the published file's tensors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from preprocessors.providers import provider

CLASSES = 7

# Which of MobileNetV2's features make up each level, and how many channels they end with.
_LEVELS = ((0, 2, 16), (2, 4, 24), (4, 7, 32), (7, 14, 96), (14, 17, 160))


class AnimeFaceNet(nn.Module):
    """(B, 3, H, W) RGB in 0..1 to (B, 7, H, W) probabilities of classes; H and W are multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        features: Any = provider("torchvision.models").mobilenet_v2(weights=None).features
        self._down = [f"en_block{level}" for level in range(len(_LEVELS))]
        self._up = [f"de_block{level}" for level in reversed(range(1, len(_LEVELS)))]
        for name, (first, end, _) in zip(self._down, _LEVELS, strict=True):
            self.add_module(name, nn.Sequential(*features[first:end]))
        widths = [width for _, _, width in _LEVELS]
        for level in range(1, len(_LEVELS)):
            wide_in = widths[level] * (1 if level == len(_LEVELS) - 1 else 2)
            self.add_module(
                f"de_block{level}",
                nn.Sequential(
                    nn.UpsamplingNearest2d(scale_factor=2),
                    nn.Conv2d(wide_in, widths[level - 1], 3, padding=1),
                    nn.InstanceNorm2d(widths[level - 1]),
                    nn.LeakyReLU(0.1),
                    nn.Dropout(0.2),
                ),
            )
        self.de_block0 = nn.Sequential(
            nn.UpsamplingNearest2d(scale_factor=2), nn.Conv2d(2 * widths[0], CLASSES, 3, padding=1), nn.Softmax2d()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Class probabilities."""
        levels: list[Tensor] = []
        for name in self._down:
            x = self.get_submodule(name)(x)
            levels.append(x)
        for name, beside in zip(self._up, levels[-2::-1], strict=True):
            x = F.interpolate(self.get_submodule(name)(x), size=beside.shape[2:], mode="bilinear", align_corners=True)
            x = torch.cat((x, beside), 1)
        return self.de_block0(x)
