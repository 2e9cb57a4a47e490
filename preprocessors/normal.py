"""Normal maps: directions of surfaces as colours."""

from __future__ import annotations

import types
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from preprocessors.base import Parameter, Pixels, Preprocessor, Work
from preprocessors.depth import MIDAS, midas_inverse_depth
from preprocessors.geometry import detected
from preprocessors.providers import provider
from preprocessors.tensors import Floats, loaded, normalized, stretched, to_bytes, to_floats, to_tensor
from preprocessors.weights import WeightFile

BAE = WeightFile(
    folder="normal_bae",
    name="scannet.pt",
    repo="lllyasviel/Annotators",
    size_bytes=291_098_181,
    licence="MIT",
)

_FLATNESS = 2 * np.pi


def normal_bae(work: Work) -> Pixels:
    """Surface directions by Bae et al.: red is right, green up, blue towards the viewer; 128 is none."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        settings = types.SimpleNamespace(
            mode="client", architecture="BN", pretrained="scannet", sampling_ratio=0.4, importance_ratio=0.7
        )
        return loaded(provider("controlnet_aux.normalbae.nets.NNET").NNET(settings), tensors)

    @torch.inference_mode()
    def detect(pixels: Pixels) -> Pixels:
        network: Any = work.runtime.network("normal_bae", [BAE], build)
        # The list of the answer holds ever finer maps.
        normals = to_floats(network(normalized(to_tensor(pixels, work.runtime.device) / 255))[0][-1][0, :3])
        return to_bytes((normals.transpose(1, 2, 0) + 1) / 2)

    return detected(work.image, work.resolution, detect)


def normal_midas(work: Work) -> Pixels:
    """Surface directions from the slope of MiDaS's depth; flat where the relative depth is below `a`."""

    def detect(pixels: Pixels) -> Pixels:
        return normals_of(midas_inverse_depth(work, pixels), background_below=work.a)

    return detected(work.image, work.resolution, detect)


def normals_of(inverse_depth: Floats, *, background_below: float) -> Pixels:
    """(H, W, 3) normals of an inverse depth map, (H, W) in no unit: blue is across, green down, red to the viewer.

    Source: ControlNet annotator/midas, MidasDetector.
    """
    background = stretched(inverse_depth) < background_below
    across = np.asarray(cv2.Sobel(inverse_depth, cv2.CV_32F, 1, 0, ksize=3), np.float32)
    down = np.asarray(cv2.Sobel(inverse_depth, cv2.CV_32F, 0, 1, ksize=3), np.float32)
    across[background] = 0
    down[background] = 0
    normals = np.stack([np.full_like(across, _FLATNESS), down, across], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return (normals * 127.5 + 127.5).clip(0, 255).astype(np.uint8)


_TYPES = ("NormalMap",)

PREPROCESSORS = (
    Preprocessor(
        name="normal_bae", types=_TYPES, run=normal_bae, priority=100, weights=(BAE,), provider="controlnet-aux"
    ),
    Preprocessor(
        name="normal_map",
        label="normal_midas",
        types=_TYPES,
        run=normal_midas,
        sliders=(Parameter(label="Normal Background Threshold", minimum=0, maximum=1, default=0.4, step=0.01),),
        weights=(MIDAS,),
        provider="controlnet-aux",
    ),
    Preprocessor(
        name="normal_dsine",
        types=_TYPES,
        run=normal_midas,
        sliders=(
            Parameter(label="Fov", minimum=0, maximum=360, default=60, step=0.1),
            Parameter(label="Iterations", minimum=1, maximum=20, default=5),
        ),
        unavailable="no library of this program defines DSINE's network. normal_bae makes the same kind of map.",
    ),
)
