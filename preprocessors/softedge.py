"""Soft edges from HED, PiDiNet and TEED, and the scribbles and sketches made of them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from preprocessors.base import RESOLUTION, Parameter, Pixels, Preprocessor, Work
from preprocessors.geometry import detected, padded
from preprocessors.lineart import standard_lines
from preprocessors.providers import provider
from preprocessors.tensors import in_steps, loaded, resized, scribbled, to_bytes, to_floats, to_tensor
from preprocessors.weights import WeightFile

HED = WeightFile(
    folder="hed",
    name="ControlNetHED.pth",
    repo="lllyasviel/Annotators",
    size_bytes=29_444_406,
    sha256="5ca93762ffd68a29fee1af9d495bf6aab80ae86f08905fb35472a083a4c7a8fa",
    licence="Apache-2.0",
)
PIDINET = WeightFile(
    folder="pidinet",
    name="table5_pidinet.pth",
    repo="lllyasviel/Annotators",
    size_bytes=2_871_148,
    licence="research only (PiDiNet)",
)
TEED = WeightFile(
    folder="TEED",
    name="7_model.pth",
    file="Annotators/7_model.pth",
    repo="bdsqlsz/qinglong_controlnet-lllite",
    size_bytes=249_139,
    sha256="d0109e7f40e7d9f1f495d34947eb08167e8fbb0a13b4e6ab3121261fb8d5a416",
    licence="MIT",
)
MTEED = WeightFile(
    folder="TEED",
    name="MTEED.pth",
    file="Anyline/MTEED.pth",
    repo="TheMistoAI/MistoLine",
    licence="OpenRAIL++-M",
)

_SAFE_STEPS = 2
_SMALL_SPOT = 36


def hed(work: Work) -> Pixels:
    """Soft edges by HED: white on black, in 0..255."""
    return detected(work.image, work.resolution, lambda pixels: to_bytes(_hed_edges(work, pixels)))


def hed_safe(work: Work) -> Pixels:
    """Soft edges by HED in three shades."""
    return detected(
        work.image, work.resolution, lambda pixels: to_bytes(in_steps(_hed_edges(work, pixels), _SAFE_STEPS))
    )


def scribble_hed(work: Work) -> Pixels:
    """Strokes along HED's edges."""
    return scribbled(hed(work))


def pidinet(work: Work) -> Pixels:
    """Soft edges by PiDiNet: white on black."""
    return detected(work.image, work.resolution, lambda pixels: to_bytes(_pidinet_edges(work, pixels)))


def pidinet_safe(work: Work) -> Pixels:
    """Soft edges by PiDiNet in three shades."""
    return detected(
        work.image, work.resolution, lambda pixels: to_bytes(in_steps(_pidinet_edges(work, pixels), _SAFE_STEPS))
    )


def pidinet_scribble(work: Work) -> Pixels:
    """Strokes along PiDiNet's edges."""
    return scribbled(pidinet(work))


def pidinet_sketch(work: Work) -> Pixels:
    """PiDiNet's edges above one half, white on black: the T2I-Adapter's sketch."""
    return detected(work.image, work.resolution, lambda pixels: to_bytes(_pidinet_edges(work, pixels) > 0.5))


def teed(work: Work) -> Pixels:
    """Soft edges by TEED in `a` + 1 shades; all shades for 0."""
    return detected(work.image, work.resolution, lambda pixels: _teed_map(work, TEED, pixels))


def anyline(work: Work) -> Pixels:
    """Soft edges by the TEED of MistoLine, with the fine lines of lineart_standard screened over them.

    Source: sd-webui-controlnet scripts/preprocessor/teed.py, PreprocessorAnyline; MistoLine's Anyline.
    """
    picture = padded(work.image, work.resolution)
    edges = picture.cut(_teed_map(work, MTEED, picture.pixels))
    lines = picture.cut(standard_lines(picture.pixels, sigma=2, faintest=3))
    lines = lines * _large_spots(lines > 0)
    screened = 255 - (255 - edges.astype(np.uint16)) * (255 - lines) // 255
    return screened.astype(np.uint8)


def _large_spots(spots: np.ndarray) -> np.ndarray:
    """Those of the touching groups of set pixels, (H, W), that have at least 36; touching at edges, not corners."""
    _, labels, facts, _ = cv2.connectedComponentsWithStats(spots.astype(np.uint8), connectivity=4)
    large = facts[:, cv2.CC_STAT_AREA] >= _SMALL_SPOT
    large[0] = False
    return large[np.asarray(labels, np.int64)]


def _hed_edges(work: Work, pixels: Pixels) -> np.ndarray:
    """(H, W) in 0..1: the mean of HED's five scales."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        return loaded(provider("controlnet_aux.hed").ControlNetHED_Apache2(), tensors)

    network = work.runtime.network("hed", [HED], build)
    return _mean_of_scales(network, to_tensor(pixels, work.runtime.device))


def _teed_map(work: Work, file: WeightFile, pixels: Pixels) -> Pixels:
    def build(tensors: dict[str, Tensor]) -> nn.Module:
        return loaded(provider("controlnet_aux.teed.ted").TED(), tensors)

    network = work.runtime.network(file.place, [file], build)
    edges = _mean_of_scales(network, to_tensor(pixels, work.runtime.device))
    steps = int(work.a)
    return to_bytes(in_steps(edges, steps) if steps else edges)


@torch.inference_mode()
def _mean_of_scales(network: nn.Module, picture: Tensor) -> np.ndarray:
    """(H, W) in 0..1: sigmoid of the mean of a network's edge maps, each enlarged to the picture's size."""
    height, width = picture.shape[-2:]
    scales = [resized(to_floats(scale[0, 0]), height, width) for scale in network(picture)]
    return 1 / (1 + np.exp(-np.mean(scales, axis=0).astype(np.float64)))


@torch.inference_mode()
def _pidinet_edges(work: Work, pixels: Pixels) -> np.ndarray:
    """(H, W) in 0..1."""

    def build(tensors: dict[str, Tensor]) -> nn.Module:
        return loaded(provider("controlnet_aux.pidi.model").pidinet(), tensors)

    network = work.runtime.network("pidinet", [PIDINET], build)
    # The network was trained on BGR.
    picture = to_tensor(pixels, work.runtime.device).flip(1) / 255
    return to_floats(network(picture)[-1][0, 0])


_STEPS = (Parameter(label="Safe Steps", minimum=0, maximum=10, default=2),)
_SOFT = ("SoftEdge",)
_SCRIBBLE = ("Scribble", "SparseCtrl")

PREPROCESSORS = (
    Preprocessor(
        name="pidinet",
        label="softedge_pidinet",
        types=_SOFT,
        run=pidinet,
        priority=100,
        weights=(PIDINET,),
        provider="controlnet-aux",
    ),
    Preprocessor(
        name="pidinet_safe",
        label="softedge_pidisafe",
        types=_SOFT,
        run=pidinet_safe,
        weights=(PIDINET,),
        provider="controlnet-aux",
    ),
    Preprocessor(name="hed", label="softedge_hed", types=_SOFT, run=hed, weights=(HED,), provider="controlnet-aux"),
    Preprocessor(
        name="hed_safe", label="softedge_hedsafe", types=_SOFT, run=hed_safe, weights=(HED,), provider="controlnet-aux"
    ),
    Preprocessor(
        name="softedge_teed", types=_SOFT, run=teed, sliders=_STEPS, weights=(TEED,), provider="controlnet-aux"
    ),
    Preprocessor(
        name="softedge_anyline",
        types=_SOFT,
        run=anyline,
        resolution=Parameter(
            label=RESOLUTION.label, minimum=RESOLUTION.minimum, maximum=RESOLUTION.maximum, default=1280, step=8
        ),
        sliders=_STEPS,
        note="Fine lines are screened over the edges; the extension's sum of the two overflows.",
        weights=(MTEED,),
        provider="controlnet-aux",
    ),
    Preprocessor(
        name="pidinet_scribble",
        label="scribble_pidinet",
        types=_SCRIBBLE,
        run=pidinet_scribble,
        priority=100,
        weights=(PIDINET,),
        provider="controlnet-aux",
    ),
    Preprocessor(name="scribble_hed", types=_SCRIBBLE, run=scribble_hed, weights=(HED,), provider="controlnet-aux"),
    Preprocessor(
        name="pidinet_sketch",
        label="t2ia_sketch_pidi",
        types=("T2I-Adapter",),
        run=pidinet_sketch,
        weights=(PIDINET,),
        provider="controlnet-aux",
    ),
)
