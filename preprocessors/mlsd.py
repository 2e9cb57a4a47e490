"""Straight lines from M-LSD."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from preprocessors.base import Parameter, Pixels, Preprocessor, Work
from preprocessors.geometry import detected
from preprocessors.providers import provider
from preprocessors.tensors import loaded, to_floats, to_tensor
from preprocessors.weights import WeightFile

MLSD = WeightFile(
    folder="mlsd",
    name="mlsd_large_512_fp32.pth",
    file="annotator/ckpts/mlsd_large_512_fp32.pth",
    repo="lllyasviel/ControlNet",
    size_bytes=6_341_481,
    sha256="5696f168eb2c30d4374bbfd45436f7415bb4d88da29bea97eea0101520fba082",
    licence="Apache-2.0",
)

_MOST_LINES = 200
_NEIGHBOURHOOD = 3


def mlsd(work: Work) -> Pixels:
    """White straight lines on black: those surer than `a` and longer than `b` cells of two pixels."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        network_class = provider("controlnet_aux.mlsd.models.mbv2_mlsd_large").MobileV2_MLSD_Large
        return loaded(network_class(), tensors)

    @torch.inference_mode()
    def draw(pixels: Pixels) -> Pixels:
        network = work.runtime.network("mlsd", [MLSD], build)
        picture = to_tensor(pixels, work.runtime.device)
        # The fourth channel is one, before the scaling that all channels get.
        picture = torch.cat([picture, torch.ones_like(picture[:, :1])], dim=1) / 127.5 - 1
        made = np.zeros(pixels.shape[:2], np.uint8)
        for line in straight_lines(network(picture), surer_than=work.a, longer_than=work.b):
            x1, y1, x2, y2 = (int(value) for value in line)
            cv2.line(made, (x1, y1), (x2, y2), 255, 1)
        return made

    return detected(work.image, work.resolution, draw)


def straight_lines(answer: Tensor, *, surer_than: float, longer_than: float) -> np.ndarray:
    """Line segments, (N, 4): x and y of start and end in pixels; N is at most 200.

    Args:
        answer: (1, 9, H/2, W/2): the first channel is how sure the network is of a line's middle (logits), the next
            four lead from there to its start and end, in cells.
        longer_than: In cells.

    Source: Gu et al., "Towards Light-weight and Real-time Line Segment Detection", 2021: peaks of the centre map and
    their displacements.
    """
    sure = torch.sigmoid(answer[:, 0])
    highest = F.max_pool2d(sure, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2)
    peaks = torch.where(highest == sure, sure, 0).flatten()
    scores, places = peaks.topk(min(_MOST_LINES, len(peaks)))
    width = answer.shape[-1]
    x, y = places % width, places // width
    ways = answer[0, 1:5, y, x]
    ends = to_floats(torch.stack([x + ways[0], y + ways[1], x + ways[2], y + ways[3]], dim=1))
    lengths = np.hypot(ends[:, 0] - ends[:, 2], ends[:, 1] - ends[:, 3])
    return 2 * ends[(to_floats(scores) > surer_than) & (lengths > longer_than)]


PREPROCESSORS = (
    Preprocessor(
        name="mlsd",
        types=("MLSD",),
        run=mlsd,
        priority=100,
        sliders=(
            Parameter(label="MLSD Value Threshold", minimum=0.01, maximum=2, default=0.1, step=0.01),
            Parameter(label="MLSD Distance Threshold", minimum=0.01, maximum=20, default=0.1, step=0.01),
        ),
        weights=(MLSD,),
        provider="controlnet-aux",
        soft_weights_in_hires=True,
    ),
)
